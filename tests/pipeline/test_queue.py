"""A study comes to its end although much goes wrong with its queue.

Workers are killed, Ctrl-C comes at a bad moment, the commit changes, and several workers run at
once: 5 for 12 experiments in CI, 3 for 6 elsewhere. MANY_CELLS=100 MANY_WORKERS=20 is the full
size, which takes a quarter of an hour on two cores. DVC is the real one. The experiments, which are
called cells here, run a stage that trains nothing.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from dvc.repo import Repo

from studies import queue_messages, queue_workers
from studies.definition import Experiment, Study
from studies.queueing import Queueing
from studies.revisions import read, states, unfinished
from studies.runner import run_experiments
from tests import forked
from tests.conftest import IN_CI, ROOT
from tests.yaml_files import write_yaml

CELLS = int(os.environ.get("MANY_CELLS", 12 if IN_CI else 6))
WORKERS = int(os.environ.get("MANY_WORKERS", 5 if IN_CI else 3))
SECONDS = 240 + 10 * CELLS  # for anything that is waited for

Result = TypeVar("Result")

# The stage notes that it has started, and waits until the gate is open. If the same cell runs twice
# at a time, the second one notes that.
TRAIN = """
echo $x >> {root}/started
exec 9> {root}/lock.$x
flock -n 9 || echo $x >> {root}/twice
while [ ! -e {root}/gate ]; do sleep 0.1; done
sleep 1
cp params.yaml out.txt
"""
# Runs a study. Its arguments are the number of cells, and how many run at a time.
STUDY = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from stages.run import run
from studies import runner
from studies.definition import Experiment, Study
runner.DEAD_SECONDS = 4
count, jobs = map(int, sys.argv[1:])
cells = [Experiment(f"cell-{{x}}", [f"x={{x}}"]) for x in range(count)]
study = Study(overrides=[], cells=[{{}}], baseline={{}})
run(lambda: runner.run_experiments("cells", cells, study, jobs) and None, own_arguments=True)
"""


class Cells:
    """A repository with one stage, and the notes of what ran in it.

    Args:
        root: the repository's folder, which is made.

    Attributes:
        root: the repository's folder.
        notes: the folder of the stage's script, of its notes, and of what processes printed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes = root.parent
        root.mkdir()
        (self.notes / "train.sh").write_text(TRAIN.format(root=self.notes))
        command = f"x=${{x}} bash {self.notes}/train.sh"
        stage = {"cmd": command, "params": ["x"], "deps": ["code.txt"], "outs": ["out.txt"]}
        write_yaml(root / "dvc.yaml", {"stages": {"train_cell": stage}})
        (root / "params.yaml").write_text("x: -1\n")
        (root / "code.txt").write_text("first\n")
        self("git", "init", "-q", "-b", "main")
        self("git", "config", "user.email", "tests@example.org")
        self("git", "config", "user.name", "Tests")
        self("dvc", "init", "-q")
        self.commit("The cells")

    def environment(self) -> dict[str, str]:
        """The environment of commands, with the `dvc` and `python` of the pipeline."""
        return {**os.environ, "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def __call__(self, *command: str) -> str:
        """Runs a command, which must succeed, and returns its output and errors."""
        done = forked.run_any(command, self.root, self.environment(), joined=True)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def commit(self, message: str, *options: str) -> None:
        """Commits all changes, or an empty commit."""
        self("git", "add", "-A")
        self("git", "commit", "-q", "--allow-empty", "-m", message, *options)

    def open_gate(self) -> None:
        """Lets the stages end."""
        (self.notes / "gate").touch()

    def started(self) -> Counter[str]:
        """How often each cell's stage has started, by the cell's number."""
        path = self.notes / "started"
        return Counter(path.read_text().split() if path.exists() else [])

    def any_ran_twice_at_a_time(self) -> bool:
        """Whether a stage ran while the same cell's was still running."""
        return (self.notes / "twice").exists()

    @contextmanager
    def study(self, count: int, jobs: int) -> Iterator["RunningStudy"]:
        """Runs a study in the background, in a process group of its own as a shell starts it.

        Args:
            count: the number of cells.
            jobs: how many run at a time.
        """
        path = self.notes / "study"
        with path.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-u", "-c", STUDY, str(count), str(jobs)],
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield RunningStudy(process, path)
        finally:
            process.kill()
            process.wait()

    def worker_of(self, name: str) -> psutil.Process | None:
        """The worker that runs a cell, if the cell's stage has started."""
        return self.busy_workers().get(name)

    def busy_workers(self) -> dict[str, psutil.Process]:
        """The workers whose cell's stage has started, by the cell's name."""
        with Repo(str(self.root)) as repo:
            queue = repo.experiments.celery_queue
            # DVC's process of an experiment has the name of the experiment's file as an argument.
            names = {
                queue.get_infofile_path(entry.stash_rev): entry.name
                for entry in queue.iter_active()
            }
            workers = queue_workers.living_workers(queue)
        script = f"{self.notes}/train.sh"
        busy = {}
        for worker in workers:
            for child in children_of(worker):
                name = next((names[part] for part in command_of(child) if part in names), None)
                if name and any(script in command_of(process) for process in children_of(child)):
                    busy[name] = worker
        return busy

    def commands_here(self) -> list[list[str]]:
        """The commands of the processes whose working directory is this repository."""
        processes = psutil.process_iter(["cmdline", "cwd"])
        return [p.info["cmdline"] or [] for p in processes if p.info["cwd"] == str(self.root)]

    def remaining_processes(self) -> list[list[str]]:
        """The commands of the processes that belong to this repository."""
        with Repo(str(self.root)) as repo:
            workers = list(queue_workers.living_workers(repo.experiments.celery_queue))
        commands = [command_of(process) for process in workers]
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if any(str(self.notes) in part for part in command) and process.pid != os.getpid():
                commands.append(command)
        return commands


def children_of(process: psutil.Process) -> list[psutil.Process]:
    """The processes that a process has started, and those that these have; none if it has ended."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command_of(process: psutil.Process) -> list[str]:
    """The command of a process; empty if the process has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class RunningStudy:
    """A study in the background.

    Args:
        process: of the study.
        path: the file that it prints to.

    Attributes:
        process: of the study.
    """

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self.process = process
        self._path = path

    def output(self) -> str:
        """What it has printed so far."""
        return self._path.read_text()

    def wait_for_output(self, text: str) -> None:
        """Waits until it has printed a text. Fails if it ends without that."""
        wait(lambda: text in self.output() or self.process.poll() is not None, self.output)
        assert text in self.output(), self.output()

    def exit_code(self) -> int:
        """Waits for its end and returns its exit code."""
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(self.output())


def wait(condition: Callable[[], Result], describe: Callable[[], str] = str) -> Result:
    """Waits until a condition holds.

    Args:
        condition: returns something true once it holds.
        describe: returns what a failure shows.

    Returns:
        What the condition has returned.
    """
    deadline = time.monotonic() + SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline, describe()
        time.sleep(0.05)
    return result


@pytest.fixture
def cells(tmp_path):
    """A repository with one stage, of which no process remains after the test."""
    cells = Cells(tmp_path / "repository")
    yield cells
    cells.open_gate()
    with Repo(str(cells.root)) as repo:
        queue_workers.kill(queue_workers.living_workers(repo.experiments.celery_queue))


def test_a_cell_whose_worker_dies_is_retried_while_the_others_run(cells):
    with cells.study(3, 2) as study:
        study.wait_for_output("running  cell-1")
        wait(lambda: cells.worker_of("cell-1"), study.output)
        worker = wait(lambda: cells.worker_of("cell-0"), study.output)
        orphans = worker.children(recursive=True)
        worker.kill()
        study.wait_for_output("retry    cell-0: its worker died\n")
        psutil.wait_procs(orphans, timeout=SECONDS)
        assert not any(orphan.is_running() for orphan in orphans)
        cells.open_gate()
        assert study.exit_code() == 0
    assert [states(cells.root)[f"cell-{x}"] for x in range(3)] == ["done"] * 3
    assert cells.started() == {"0": 2, "1": 1, "2": 1}
    assert not cells.any_ran_twice_at_a_time()


def test_a_cell_whose_workers_keep_dying_fails_with_that_reason(cells, tmp_path):
    with cells.study(2, 2) as study:
        for number in range(3):
            wait(lambda n=number: cells.started()["0"] == n + 1, study.output)
            wait(lambda: cells.worker_of("cell-0"), study.output).kill()
        study.wait_for_output("failed   cell-0")
        cells.open_gate()
        assert study.exit_code() == 0
        assert study.output().count("retry    cell-0: its worker died\n") == 2
    assert states(cells.root) == {"cell-0": "failed", "cell-1": "done"}
    assert not cells.any_ran_twice_at_a_time()
    reason = "ERROR: its worker died (attempt 3 of 3)"
    assert cells("dvc", "queue", "logs", "cell-0").rstrip().endswith(f"\n{reason}")
    (failed,) = read(cells.root, ["cell-0"], tmp_path / "read")
    assert failed.log.splitlines()[-1] == reason
    # The next call of the study starts from the beginning.
    with cells.study(2, 1) as study:
        assert study.exit_code() == 0
    assert states(cells.root)["cell-0"] == "done"


def test_a_cell_that_the_user_queued_and_whose_worker_was_killed_is_retried(cells):
    cells("dvc", "exp", "run", "--queue", "-n", "cell-0", "-S", "x=0")
    cells("dvc", "queue", "start")
    worker = wait(lambda: cells.worker_of("cell-0"))
    worker.kill()
    assert states(cells.root) == {"cell-0": "running"}  # DVC does not notice
    with cells.study(1, 1) as study:
        study.wait_for_output("retry    cell-0: its worker died\n")
        cells.open_gate()
        assert study.exit_code() == 0
    assert states(cells.root) == {"cell-0": "done"}
    assert not cells.any_ran_twice_at_a_time()


def test_ctrl_c_before_the_process_of_a_cell_has_started(cells):
    with cells.study(1, 1) as study:
        study.wait_for_output("queued   cell-0")

        def is_taken_without_a_process():
            with Repo(str(cells.root)) as repo:
                queue = repo.experiments.celery_queue
                return any(not queue.proc.get(entry.stash_rev) for entry in queue.iter_active())

        wait(is_taken_without_a_process, study.output)
        os.killpg(study.process.pid, signal.SIGINT)
        assert study.exit_code() == 128 + signal.SIGINT
        assert "Traceback" not in study.output()
    assert states(cells.root)["cell-0"] in ("failed", "queued")
    assert cells.remaining_processes() == []
    cells.open_gate()
    with cells.study(1, 1) as study:
        assert study.exit_code() == 0
    assert states(cells.root) == {"cell-0": "done"}


def test_a_file_of_dvc_that_was_cut_short_stops_no_study(cells):
    with cells.study(1, 1) as study:
        worker = wait(lambda: cells.worker_of("cell-0"), study.output)
        with Repo(str(cells.root)) as repo:
            queue = repo.experiments.celery_queue
            (entry,) = queue.iter_active()
            file = Path(queue.get_infofile_path(entry.stash_rev))
        file.write_text("")  # as of a process that was ended while it wrote the file
        queue_workers.kill(children_of(worker))
        assert study.exit_code() == 0
        assert "failed   cell-0" in study.output()
    assert states(cells.root) == {"cell-0": "failed"}
    assert not file.exists()
    assert "Failed" in cells("dvc", "queue", "status")
    cells.open_gate()
    with cells.study(1, 1) as study:
        assert study.exit_code() == 0
    assert states(cells.root) == {"cell-0": "done"}


@pytest.mark.parametrize("send", [os.killpg, os.kill], ids=["group", "process"])
def test_ctrl_c_while_the_study_queues_cells_leaves_the_repository_as_it_was(cells, send):
    (cells.root / "code.txt").write_text("not committed\n")
    with cells.study(30, 1) as study:
        study.wait_for_output("queued   cell-1\n")
        git = cells.root / ".git"
        # While DVC queues an experiment, it stashes the changes and detaches HEAD.
        wait(lambda: not (git / "HEAD").read_text().startswith("ref: "), study.output)
        send(study.process.pid, signal.SIGINT)
        assert study.exit_code() == 128 + signal.SIGINT
        assert "Traceback" not in study.output()
    assert cells("git", "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert (cells.root / "code.txt").read_text() == "not committed\n"
    assert cells("git", "stash", "list") == ""
    assert states(cells.root) == {}
    assert cells.remaining_processes() == []


def test_a_study_that_is_killed_while_it_queues_leaves_the_repository_as_it_was(cells):
    (cells.root / "code.txt").write_text("not committed\n")
    head = cells.root / ".git" / "HEAD"
    with cells.study(30, 1) as study:
        study.wait_for_output("queued   cell-1\n")
        wait(lambda: not head.read_text().startswith("ref: "), study.output)
        study.process.kill()
        study.process.wait()
    wait(lambda: not any("studies.queueing" in each for each in cells.commands_here()))
    assert head.read_text() == "ref: refs/heads/main\n"
    assert (cells.root / "code.txt").read_text() == "not committed\n"
    assert cells("git", "stash", "list") == ""
    queued = states(cells.root)
    assert 2 <= len(queued) < 30
    assert set(queued.values()) == {"queued"}


def test_a_cell_that_is_refused_leaves_none_queued(cells, monkeypatch, capsys):
    monkeypatch.chdir(cells.root)
    monkeypatch.setenv("PATH", cells.environment()["PATH"])
    with Queueing() as queueing:
        queueing.add("cell-1", ["x=10"], [])  # by the user, or an earlier study
    experiments = [Experiment("cell-0", ["x=0"]), Experiment("cell-1", ["x=1"])]
    study = Study(overrides=[], cells=[{}], baseline={})
    with pytest.raises(SystemExit) as caught:
        run_experiments("cells", [*experiments, Experiment("cell-2", ["y=2"])], study, 1)
    assert str(caught.value.code).startswith("ERROR: Invalid `--set-param` value")
    assert "\n" not in caught.value.code
    assert "queued   cell-1\n" in capsys.readouterr().out
    assert states(cells.root) == {}
    assert cells.remaining_processes() == []


def test_each_message_of_the_queue_is_read_once(cells, monkeypatch):
    monkeypatch.chdir(cells.root)
    monkeypatch.setenv("PATH", cells.environment()["PATH"])
    read_files = []
    read_messages = queue_messages._read_messages

    def counted(queue, folder, files):
        read_files.extend(files)
        return read_messages(queue, folder, files)

    monkeypatch.setattr(queue_messages, "_read_messages", counted)
    reader = queue_messages.QueueReader()
    for count in (1, 2):
        with Queueing() as queueing:
            queueing.add(f"cell-{count}", [f"x={count}"], [])
        with Repo() as repo:
            for _ in range(3):
                experiments = reader.read(repo.experiments.celery_queue)
        names = [f"cell-{number}" for number in range(1, count + 1)]
        assert [(each.entry.name, each.state) for each in experiments] == [
            (name, "queued") for name in names
        ]
        assert len(read_files) == count
    cells.open_gate()
    with Repo() as repo:
        queue_workers.start(repo.experiments.celery_queue, 1)

        def done():
            experiments = reader.read(repo.experiments.celery_queue)
            return {each.state for each in experiments} == {"done"}

        wait(done)
    assert len(read_files) == len(set(read_files))


def test_done_cells_are_restored_without_training_after_an_amended_commit(cells, tmp_path):
    cells.open_gate()
    with cells.study(2, 2) as study:
        assert study.exit_code() == 0
    before = cells("git", "rev-parse", "--short=7", "HEAD").strip()
    cells.commit("Another message", "--amend")
    cells("git", "reflog", "expire", "--expire=now", "--all")
    cells("git", "gc", "-q", "--prune=now")
    # The name still leads to the experiment, although its baseline commit is gone.
    (old,) = read(cells.root, ["cell-0"], tmp_path / "read")
    assert old.state == "done"
    with cells.study(3, 2) as study:
        assert study.exit_code() == 0
        for name in ("cell-0", "cell-1"):
            assert (
                f"rerun    {name}: it is done at {before}, not at the current commit; "
                "DVC's run cache restores what has not changed since\n"
            ) in study.output()
        assert study.output().count(", from DVC's run cache") == 2
    assert cells.started() == {"0": 1, "1": 1, "2": 1}
    assert states(cells.root) == {"cell-0": "done", "cell-1": "done", "cell-2": "done"}


def test_done_cells_are_trained_again_after_a_change_of_the_code(cells):
    cells.open_gate()
    with cells.study(1, 1) as study:
        assert study.exit_code() == 0
    (cells.root / "code.txt").write_text("second\n")
    cells.commit("A change of the code")
    with cells.study(1, 1) as study:
        assert study.exit_code() == 0
        assert "done     cell-0 (1 of 1), trained again\n" in study.output()
    assert cells.started() == {"0": 2}


def test_a_commit_while_a_study_runs_loses_nothing(cells):
    with cells.study(2, 1) as study:
        wait(lambda: cells.worker_of("cell-0"), study.output)
        before = cells("git", "rev-parse", "--short=7", "HEAD").strip()
        cells.commit("In the meantime")
        after = cells("git", "rev-parse", "--short=7", "HEAD").strip()
        cells.open_gate()
        assert study.exit_code() == 0
        change = f"the current commit has changed from {before} to {after}"
        assert f"{change}; the study continues there\n" in study.output()
    assert states(cells.root) == {"cell-0": "done", "cell-1": "done"}
    assert cells.started() == {"0": 1, "1": 1}


def test_cells_in_the_queue_of_dvc_with_several_workers_one_of_which_is_killed(cells):
    cells.open_gate()
    cells("dvc", "exp", "run", "--queue", "-n", "cell", "-S", f"x=range(0,{CELLS})")
    cells("dvc", "queue", "start", "-j", str(WORKERS))
    wait(cells.started)
    with Repo(str(cells.root)) as repo:
        queue = repo.experiments.celery_queue
        name, worker = wait(cells.busy_workers).popitem()
        worker.kill()
        entry, _ = unfinished(repo)[name, repo.scm.get_rev()]

        def others_have_ended():
            if list(queue.iter_queued()) and not queue_workers.living_workers(queue):
                # A worker of DVC ends when it reads a message that another is still writing. All
                # may have ended in this way.
                cells("dvc", "queue", "start", "-j", str(WORKERS))
            waiting = [*queue.iter_active(), *queue.iter_queued()]
            return {each.stash_rev for each in waiting} == {entry.stash_rev}

        wait(others_have_ended)
        final_states = states(cells.root)
        assert len(final_states) == CELLS
        assert final_states.pop(entry.name) == "running"  # for ever, as DVC sees it
        unexplained_failures = [
            name
            for name, state in final_states.items()
            if state == "failed"
            and not read(cells.root, [name], cells.notes / name)[0].log
            and not queue_workers.setup_error(queue, unfinished(repo)[name, entry.baseline_rev][0])
        ]
    assert set(final_states.values()) <= {"done", "failed"}
    assert unexplained_failures == []


def test_a_study_with_several_workers_one_of_which_is_killed(cells):
    cells.open_gate()
    with cells.study(CELLS, WORKERS) as study:
        name, worker = wait(cells.busy_workers, study.output).popitem()
        worker.kill()
        assert study.exit_code() == 0
        assert f"retry    {name}: its worker died\n" in study.output()
    assert Counter(states(cells.root).values()) == {"done": CELLS}
    assert not cells.any_ran_twice_at_a_time()
    wait(lambda: not cells.remaining_processes(), lambda: str(cells.remaining_processes()))
