"""A study on a cluster: the same results as on this machine, whatever happens to its nodes.

Slurm, DVC, Git and the trainer are the real ones. The two nodes are on this machine. MANY_CELLS=100
is the full size of the test of many cells, which takes a quarter of an hour on two cores.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from dvc.api import DVCFileSystem

from studies.slurm.folder import CommitFolder
from tests.conftest import IN_CI
from tests.pipeline.conftest import OVERRIDES, Repository, make_repository
from tests.slurm_cluster import NORMAL, URGENT, Cluster
from tests.yaml_files import read_yaml, write_yaml

MINUTES = 60
CELLS = int(os.environ.get("MANY_CELLS", 12 if IN_CI else 6))
PATIENCE = 10 * MINUTES  # for what takes a minute on an idle machine
SPEECH = [override for override in OVERRIDES if not override.startswith("spleeter")]
# Long enough to be interrupted in the middle.
EPOCHS = 6
STUDY = {
    "overrides": [*SPEECH, f"svoice.epochs={EPOCHS}"],
    "cells": [{"optimizer": ["adam", "sgd"], "schedule": "plateau", "clipping": "autoclip"}],
    "baseline": {"optimizer": "adam"},
    "targets": ["summarise_svoice"],
}
NAMES = [f"quick-autoclip-{optimizer}-plateau-seed0" for optimizer in ("adam", "sgd")]


class Project(Repository):
    """A repository of the project with a study and a cluster.

    Args:
        root: its folder, which is made.
        cluster: on which the study runs.
        study: its definition.
        engine: settings of the cluster that differ from the default ones.
    """

    def __init__(self, root: Path, cluster: Cluster, study: dict, **engine: object) -> None:
        make_repository(root)
        super().__init__(root)
        self._cluster = cluster
        path = root / "conf" / "engine" / "slurm.yaml"
        small = {"signal_seconds": 60, "room_gb": 1, "partition": NORMAL, "cpus": 1}
        write_yaml(path.with_name("tests.yaml"), read_yaml(path) | small | engine)
        write_yaml(root / "conf" / "study" / "quick.yaml", study)
        self.commit("A study and a cluster")
        self.head = self("git", "rev-parse", "HEAD").stdout.strip()
        shared = root / engine.get("shared", "scratch/slurm")
        self.folder = CommitFolder(shared, self.head)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands, in which Slurm's find the cluster."""
        return {**super().environment, **self._cluster.environment}

    def study(self, *options: str, check: bool = True):
        """Runs `make study` without the set-up."""
        command = ("python", "-m", "studies.study", "quick", "--engine", "tests", *options)
        return self(*command, check=check)

    def results(self) -> dict[str, list[str]]:
        """The validation losses and the scores of the experiments that are done, by their names."""
        paths = ("results/svoice/epochs.csv", "results/svoice/scores.json")
        files = {name: DVCFileSystem(str(self.root), rev=name) for name in self.done()}
        return {name: [fs.read_text(path) for path in paths] for name, fs in files.items()}

    def refs(self) -> dict[str, str]:
        """The experiments of the repository by their names, and their refs."""
        listed = self("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
        names = [ref.rpartition("/")[2] for ref in listed]
        assert len(set(names)) == len(names), "an experiment is there twice"
        return dict(zip(names, listed, strict=True))

    def done(self) -> list[str]:
        """The names of the experiments that are done, in alphabetical order."""
        return sorted(name for name in self.refs() if name.startswith("quick-"))

    def wait_for_training(self, name: str) -> None:
        """Waits until an experiment has kept a checkpoint of its training."""
        scratch = self.folder.cell(name).scratch
        self._cluster.wait(lambda: list(scratch.glob("svoice/*/checkpoint.pt")), PATIENCE)

    @contextmanager
    def training_stopped(self, name: str) -> Iterator[None]:
        """Stops what trains an experiment; what is left of it at the end of the block goes on."""
        scratch = str(self.folder.cell(name).scratch)
        processes = [
            process
            for process in psutil.process_iter(["cmdline"])
            if "svoice.train" in (command := process.info["cmdline"] or [])
            and any(part.startswith(scratch) for part in command)
        ]
        assert processes
        for process in processes:
            process.suspend()
        yield
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def log(self, name: str) -> str:
        """The log of an experiment's cell."""
        return self.folder.cell(name).log.read_text()


@pytest.fixture
def cluster_at_rest(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, on which nothing runs before or after the test."""
    cluster.restore()
    yield cluster
    cluster.restore()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> dict[str, list[str]]:
    """The results of the study on this machine, by the experiment's name."""
    project = Project(tmp_path_factory.mktemp("local") / "project", cluster, STUDY)
    project("python", "-m", "studies.study", "quick", "--jobs", "2")
    return project.results()


def test_the_plan_is_printed_and_nothing_submitted(tmp_path, cluster_at_rest):
    project = Project(tmp_path / "project", cluster_at_rest, STUDY, gres="gpu:1", time_limit="10")
    printed = project.study("--dry-run").stdout
    assert "an array of 2, of which 8 run at the same time at most" in printed
    for option in ("--array=0-1%8", "--gres=gpu:1", "--time=10", "--signal=B:USR2@60"):
        assert f"#SBATCH {option}\n" in printed
    assert cluster_at_rest.run("squeue", "-h").stdout == ""
    assert not project.folder.path.exists()


def test_a_study_has_the_results_that_it_has_on_this_machine(
    tmp_path, cluster_at_rest, undisturbed
):
    project = Project(tmp_path / "project", cluster_at_rest, STUDY)
    first = project.study().stdout
    assert "submitted 2 experiments as job" in first and "2 queued" in first
    assert "The same command says how far they are" in first
    second = project.study().stdout  # while they are on their way
    assert "submitted" not in second
    last = project.study("--wait")
    assert "submitted" not in last.stdout and "2 experiments: 2 done" in last.stdout
    assert "WARNING" not in last.stdout + last.stderr
    assert project.done() == NAMES
    assert project.results() == undisturbed
    assert (project.root / "reports" / "quick.html").is_file()
    # DVC knows no difference, and what the nodes have made is here.
    shown = project("dvc", "exp", "show", "--csv", "--only-changed").stdout
    assert all(name in shown for name in NAMES)
    # It reports the files of the other model as missing, which this study has not trained.
    project("dvc", "exp", "apply", NAMES[1], check=False)
    assert (project.root / "models" / "svoice").is_dir()
    # A cell that is done leaves its log, and no clone.
    cell = project.folder.cell(NAMES[0])
    assert not cell.clone.exists() and not cell.scratch.exists()
    assert "epoch 6 of 6" in project.log(NAMES[0])


def test_a_node_dies_and_the_controller_restarts(tmp_path, cluster_at_rest, undisturbed):
    project = Project(tmp_path / "project", cluster_at_rest, STUDY, at_once=2)
    project.study()
    project.wait_for_training(NAMES[0])
    cluster_at_rest.restart_controller()
    node = next(job.node for job in cluster_at_rest.jobs() if job.state == "RUNNING")
    cluster_at_rest.kill_node(node)
    project.study("--wait")
    assert project.results() == undisturbed
    assert len(re.findall(r" starts quick-", project.log(NAMES[0]))) == 2


@pytest.mark.parametrize("what", ["preempted", "at its time limit"])
def test_a_preemption_and_a_time_limit(tmp_path, cluster_at_rest, undisturbed, what):
    project = Project(tmp_path / "project", cluster_at_rest, STUDY)
    project.study()
    project.wait_for_training(NAMES[0])
    if what == "preempted":
        whole = ("--exclusive", "--nodes=2", f"--partition={URGENT}")
        urgent = cluster_at_rest.submit("sleep 1", *whole)
        cluster_at_rest.wait_for_job(urgent, "COMPLETED", seconds=PATIENCE)
    else:
        # What Slurm sends before the limit, which it counts to half a minute.
        running = [job.name for job in cluster_at_rest.jobs() if job.state == "RUNNING"]
        cluster_at_rest.run("scancel", "--batch", "--signal=USR2", *running)
    project.study("--wait")
    assert project.results() == undisturbed
    assert project.log(NAMES[0]).count(f" starts {NAMES[0]}") == 2
    assert "resuming after step" in project.log(NAMES[0])


def test_a_cut_off_start_ends_when_its_cell_runs_elsewhere(tmp_path, cluster_at_rest, undisturbed):
    """Slurm believes that the node is dead, but what runs there goes on."""
    project = Project(tmp_path / "project", cluster_at_rest, STUDY, at_once=1)
    project.study()
    project.wait_for_training(NAMES[0])
    node = next(job.node for job in cluster_at_rest.jobs() if job.state == "RUNNING")
    with project.training_stopped(NAMES[0]):  # else it could be done before Slurm starts another
        cluster_at_rest.kill_node(node, jobs=False)
        outlived = "this cell has started elsewhere"
        cluster_at_rest.wait(lambda: outlived in project.log(NAMES[0]), PATIENCE)
    project.study("--wait")
    assert project.results() == undisturbed


def quick_cells(count: int) -> dict:
    """A study of cells that take DVC's time and nearly none of their own."""
    cells = [{"optimizer": "adam", "optimizer.svoice.lr": [n / 1000 for n in range(1, count + 1)]}]
    return {"overrides": [], "cells": cells, "baseline": {}, "targets": ["settings"]}


def test_many_cells_leave_one_ref_each(tmp_path, cluster_at_rest):
    project = Project(tmp_path / "project", cluster_at_rest, quick_cells(CELLS), at_once=12)
    project.study("--wait")
    assert len(project.done()) == CELLS
    outcomes = [project.folder.cell(name).outcome() for name in project.done()]
    assert {outcome.state for outcome in outcomes} == {"done"}


def test_results_wait_for_a_repository_that_is_away(tmp_path, cluster_at_rest):
    shared = str(tmp_path / "shared")
    project = Project(tmp_path / "project", cluster_at_rest, quick_cells(3), shared=shared)
    project.study()
    cluster_at_rest.wait(
        lambda: len(list(project.folder.path.glob("cells/*/clone/.git/complete"))) == 3, PATIENCE
    )
    away = project.root.rename(tmp_path / "away")
    logs = list(project.folder.path.glob("cells/*/log.txt"))
    cluster_at_rest.wait(lambda: all("trying again" in log.read_text() for log in logs), PATIENCE)
    away.rename(project.root)
    project.study("--wait")
    assert len(project.done()) == 3


def test_a_cell_that_fails_is_named_and_the_others_go_on(tmp_path, cluster_at_rest):
    study = quick_cells(2)
    study["cells"].append({"music": "folder", "music.path": "/nonexistent"})
    study |= {"baseline": {"optimizer": "adam"}, "targets": ["csv_music"]}
    project = Project(tmp_path / "project", cluster_at_rest, study)
    assert project.study().returncode == 0
    done = project.study("--wait", check=False)
    assert done.returncode == 1
    assert "2 done, 1 failed" in done.stdout
    name, log = re.search(r"failed: (quick-\S*nonexistent\S*) \(see: (.*)\)", done.stdout).groups()
    assert log == str(project.folder.cell(name).log)
    assert f"failed   {name}: DVC has ended with exit code" in done.stdout
    assert re.search(r"\n +\| .*music.path: there is nothing at /nonexistent", done.stdout)
    page = (project.root / "reports" / "quick.html").read_text()
    assert name in page and "music.path: there is nothing at /nonexistent" in page
    # The same command tries it again, and nothing else.
    again = project.study("--wait", check=False)
    assert again.returncode == 1 and "submitted 1 experiment as job" in again.stdout


@pytest.mark.parametrize(
    "engine, message",
    [
        ({"partition": "fast"}, "ENGINE, partition: there is no partition 'fast'; the cluster has"),
        ({"shared": "/proc/none"}, "ENGINE, shared: cannot write to /proc/none"),
        ({"room_gb": 10**6}, "GB of room, and needs 1000000; make room"),
        ({"sbatch": ["--qos=none", "--bogus"]}, "sbatch: "),
        ({"at_once": 0}, "conf/engine/tests.yaml, at_once: found 0, expected"),
    ],
)
def test_a_misconfiguration_is_one_line(tmp_path, cluster_at_rest, engine, message):
    project = Project(tmp_path / "project", cluster_at_rest, quick_cells(2), **engine)
    done = project.study(check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("ERROR: ") and message in lines[-1]
    assert "Traceback" not in done.stdout
    assert cluster_at_rest.run("squeue", "-h").stdout == ""
