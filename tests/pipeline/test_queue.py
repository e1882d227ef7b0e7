"""A study's queue where things go wrong: workers are killed, Ctrl-C comes at a bad moment, the
commit changes, and many workers run at once. With the real DVC, on a stage that trains nothing."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo

from studies import queue_workers
from studies.revisions import read, states, unfinished
from tests.conftest import ROOT
from tests.yaml_files import write_yaml

# The full size takes a quarter of an hour on two cores: MANY_CELLS=100 MANY_WORKERS=20.
CELLS = int(os.environ.get("MANY_CELLS", 12))
WORKERS = int(os.environ.get("MANY_WORKERS", 5))
SECONDS = 240 + 10 * CELLS
# Cells wait for the gate; of two at once that train the same, one says so.
TRAIN = """
echo $x >> {root}/started
exec 9> {root}/lock.$x
flock -n 9 || echo $x >> {root}/twice
while [ ! -e {root}/gate ]; do sleep 0.1; done
sleep 1
cp params.yaml out.txt
"""
STUDY = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from stages.run import run
from studies import runner
from studies.definition import Experiment, Study
runner.DEAD_SECONDS = 4
count, jobs = map(int, sys.argv[1:])
cells = [Experiment(f"cell-{{x}}", [f"x={{x}}"]) for x in range(count)]
study = Study(overrides=[], cells=[], baseline={{}})
run(lambda: runner.run_experiments("cells", cells, study, jobs) and None, own_arguments=True)
"""


class Cells:
    """A repository with one stage, and what ran in it."""

    def __init__(self, root: Path):
        self.root = root
        self.beside = root.parent
        root.mkdir()
        (self.beside / "train.sh").write_text(TRAIN.format(root=self.beside))
        command = f"x=${{x}} bash {self.beside}/train.sh"
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
        return {**os.environ, "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def __call__(self, *command: str) -> str:
        said = self.beside / "said"
        with said.open("w") as output:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        assert done.returncode == 0, said.read_text()
        return said.read_text()

    def commit(self, message: str, *options: str) -> None:
        self("git", "add", "-A")
        self("git", "commit", "-q", "--allow-empty", "-m", message, *options)

    def open_gate(self) -> None:
        (self.beside / "gate").touch()

    def started(self) -> Counter:
        """How often each cell has started."""
        path = self.beside / "started"
        return Counter(path.read_text().split() if path.exists() else [])

    def twice(self) -> bool:
        return (self.beside / "twice").exists()

    @contextmanager
    def study(self, count: int, jobs: int):
        """The study in the background, in a process group of its own as a shell would start it."""
        said = self.beside / "study"
        with said.open("w") as output:
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
            yield Running(process, said)
        finally:
            process.kill()
            process.wait()

    def worker_of(self, name: str) -> psutil.Process | None:
        """The worker whose process of an experiment has started its stage."""
        return self.busy().get(name)

    def busy(self) -> dict[str, psutil.Process]:
        """The workers whose experiment has started its stage, by the experiment's name."""
        with Repo(str(self.root)) as repo:
            queue = repo.experiments.celery_queue
            infofiles = {queue.get_infofile_path(e.stash_rev): e.name for e in queue.iter_active()}
            workers = queue_workers.living_workers(queue)
        found = {}
        for worker in workers:
            for child in children_of(worker):
                name = next(
                    (infofiles[part] for part in command_of(child) if part in infofiles), ""
                )
                script = f"{self.beside}/train.sh"
                if name and any(script in command_of(each) for each in children_of(child)):
                    found[name] = worker
        return found

    def left(self) -> list[list[str]]:
        """What runs of this repository."""
        with Repo(str(self.root)) as repo:
            workers = list(queue_workers.living_workers(repo.experiments.celery_queue))
        found = [command_of(process) for process in workers]
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if any(str(self.beside) in part for part in command) and process.pid != os.getpid():
                found.append(command)
        return found


def children_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command_of(process: psutil.Process) -> list[str]:
    """Empty if it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class Running:
    def __init__(self, process: subprocess.Popen, said: Path):
        self.process = process
        self._said = said

    def said(self) -> str:
        return self._said.read_text()

    def until(self, text: str) -> None:
        wait(lambda: text in self.said() or self.process.poll() is not None, self.said)
        assert text in self.said(), self.said()

    def ended(self) -> int:
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(self.said())


def wait(condition, about=str):
    last = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < last, about()
        time.sleep(0.05)
    return found


@pytest.fixture
def cells(tmp_path):
    made = Cells(tmp_path / "repository")
    yield made
    made.open_gate()
    with Repo(str(made.root)) as repo:
        queue_workers.kill(queue_workers.living_workers(repo.experiments.celery_queue))


def test_a_cell_whose_worker_dies_is_queued_again_while_the_others_live(cells):
    with cells.study(3, 2) as study:
        study.until("running  cell-1")
        wait(lambda: cells.worker_of("cell-1"), study.said)
        worker = wait(lambda: cells.worker_of("cell-0"), study.said)
        orphans = worker.children(recursive=True)
        worker.kill()
        study.until("retry    cell-0: its worker died\n")
        psutil.wait_procs(orphans, timeout=SECONDS)
        assert not any(orphan.is_running() for orphan in orphans)
        cells.open_gate()
        assert study.ended() == 0
    assert [states(cells.root)[f"cell-{x}"] for x in range(3)] == ["done"] * 3
    assert cells.started() == {"0": 2, "1": 1, "2": 1}
    assert not cells.twice()


def test_a_cell_whose_workers_die_has_failed_with_its_reason(cells, tmp_path):
    with cells.study(2, 2) as study:
        for number in range(3):
            wait(lambda n=number: cells.started()["0"] == n + 1, study.said)
            wait(lambda: cells.worker_of("cell-0"), study.said).kill()
        study.until("failed   cell-0")
        cells.open_gate()
        assert study.ended() == 0
        assert study.said().count("retry    cell-0: its worker died\n") == 2
    assert states(cells.root) == {"cell-0": "failed", "cell-1": "done"}
    assert not cells.twice()
    reason = "ERROR: its worker died (attempt 3 of 3)"
    assert cells("dvc", "queue", "logs", "cell-0").rstrip().endswith(f"\n{reason}")
    (failed,) = read(cells.root, ["cell-0"], tmp_path / "read")
    assert failed.log.splitlines()[-1] == reason
    # And once more, from the beginning.
    with cells.study(2, 1) as study:
        assert study.ended() == 0
    assert states(cells.root)["cell-0"] == "done"


def test_what_runs_for_ever_under_a_killed_worker_of_the_users_is_run_again(cells):
    cells("dvc", "exp", "run", "--queue", "-n", "cell-0", "-S", "x=0")
    cells("dvc", "queue", "start")
    worker = wait(lambda: cells.worker_of("cell-0"))
    worker.kill()
    assert states(cells.root) == {"cell-0": "running"}
    with cells.study(1, 1) as study:
        study.until("retry    cell-0: its worker died\n")
        cells.open_gate()
        assert study.ended() == 0
    assert states(cells.root) == {"cell-0": "done"}
    assert not cells.twice()


def test_ctrl_c_before_an_experiment_has_its_process(cells):
    with cells.study(1, 1) as study:
        study.until("queued   cell-0")

        def taken():
            with Repo(str(cells.root)) as repo:
                queue = repo.experiments.celery_queue
                return any(not queue.proc.get(e.stash_rev) for e in queue.iter_active())

        wait(taken, study.said)
        os.killpg(study.process.pid, signal.SIGINT)
        assert study.ended() == 128 + signal.SIGINT
        assert "Traceback" not in study.said()
    assert states(cells.root)["cell-0"] in ("failed", "queued")
    assert cells.left() == []
    cells.open_gate()
    with cells.study(1, 1) as study:
        assert study.ended() == 0
    assert states(cells.root) == {"cell-0": "done"}


@pytest.mark.parametrize("send", [os.killpg, os.kill], ids=["group", "process"])
def test_ctrl_c_while_cells_are_queued_leaves_the_repository_as_it_was(cells, send):
    (cells.root / "code.txt").write_text("not committed\n")
    with cells.study(30, 1) as study:
        study.until("queued   cell-1\n")
        git = cells.root / ".git"
        # DVC puts the changes aside and leaves the branch while it queues.
        wait(lambda: not (git / "HEAD").read_text().startswith("ref: "), study.said)
        send(study.process.pid, signal.SIGINT)
        assert study.ended() == 128 + signal.SIGINT
        assert "Traceback" not in study.said()
    assert cells("git", "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert (cells.root / "code.txt").read_text() == "not committed\n"
    assert cells("git", "stash", "list") == ""
    assert states(cells.root) == {}
    assert cells.left() == []


def test_done_cells_of_an_amended_commit_are_restored_not_trained(cells, tmp_path):
    cells.open_gate()
    with cells.study(2, 2) as study:
        assert study.ended() == 0
    before = cells("git", "rev-parse", "--short=7", "HEAD").strip()
    cells.commit("Other words", "--amend")
    cells("git", "reflog", "expire", "--expire=now", "--all")
    cells("git", "gc", "-q", "--prune=now")
    # By name it is found at the commit that is no more.
    (old,) = read(cells.root, ["cell-0"], tmp_path / "read")
    assert old.state == "done"
    with cells.study(3, 2) as study:
        assert study.ended() == 0
        for name in ("cell-0", "cell-1"):
            assert (
                f"rerun    {name}: it is done at {before}, not at the current commit; "
                "DVC's run cache restores what has not changed since\n"
            ) in study.said()
        assert study.said().count(", from DVC's run cache") == 2
    assert cells.started() == {"0": 1, "1": 1, "2": 1}
    assert set(states(cells.root).values()) == {"done"} and len(states(cells.root)) == 3


def test_done_cells_of_other_code_are_trained_again(cells):
    cells.open_gate()
    with cells.study(1, 1) as study:
        assert study.ended() == 0
    (cells.root / "code.txt").write_text("second\n")
    cells.commit("Other code")
    with cells.study(1, 1) as study:
        assert study.ended() == 0
        assert "done     cell-0 (1 of 1), trained again\n" in study.said()
    assert cells.started() == {"0": 2}


def test_a_commit_while_a_study_runs_loses_nothing(cells):
    with cells.study(2, 1) as study:
        wait(lambda: cells.worker_of("cell-0"), study.said)
        before = cells("git", "rev-parse", "--short=7", "HEAD").strip()
        cells.commit("In the meantime")
        after = cells("git", "rev-parse", "--short=7", "HEAD").strip()
        cells.open_gate()
        assert study.ended() == 0
        change = f"the current commit has changed from {before} to {after}"
        assert f"{change}; the study continues there\n" in study.said()
    assert states(cells.root) == {"cell-0": "done", "cell-1": "done"}
    assert cells.started() == {"0": 1, "1": 1}


def test_many_cells_and_workers_of_dvc_one_of_which_is_killed(cells):
    cells.open_gate()
    cells("dvc", "exp", "run", "--queue", "-n", "cell", "-S", f"x=range(0,{CELLS})")
    cells("dvc", "queue", "start", "-j", str(WORKERS))
    wait(cells.started)
    with Repo(str(cells.root)) as repo:
        queue = repo.experiments.celery_queue
        name, worker = wait(cells.busy).popitem()
        worker.kill()
        entry, _ = unfinished(repo)[name, repo.scm.get_rev()]

        def others_ended():
            if list(queue.iter_queued()) and not queue_workers.living_workers(queue):
                # One by one, DVC's workers give up over a message that another has half written.
                cells("dvc", "queue", "start", "-j", str(WORKERS))
            waiting = [*queue.iter_active(), *queue.iter_queued()]
            return {each.stash_rev for each in waiting} == {entry.stash_rev}

        wait(others_ended)
        found = states(cells.root)
        assert len(found) == CELLS
        assert found.pop(entry.name) == "running"  # for ever, as DVC sees it
        unexplained = [
            name
            for name, state in found.items()
            if state == "failed"
            and not read(cells.root, [name], cells.beside / name)[0].log
            and not queue_workers.setup_error(queue, unfinished(repo)[name, entry.baseline_rev][0])
        ]
    assert set(found.values()) <= {"done", "failed"} and not unexplained


def test_many_cells_and_workers_of_a_study_one_of_which_is_killed(cells):
    cells.open_gate()
    with cells.study(CELLS, WORKERS) as study:
        killed, worker = wait(cells.busy, study.said).popitem()
        worker.kill()
        assert study.ended() == 0
        assert f"retry    {killed}: its worker died\n" in study.said()
    assert Counter(states(cells.root).values()) == {"done": CELLS}
    assert not cells.twice()
    wait(lambda: not cells.left(), lambda: str(cells.left()))
