"""Runs a study's experiments on a Slurm cluster, and brings their results home.

Nothing runs here: each call submits what is new or has failed, looks at what the cluster has done
since the last one, and fetches the results.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.refs import ExpRefInfo
from dvc.repo.experiments.utils import exp_refs_by_baseline
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from contract.errors import InputError
from contract.files import remove, write
from contract.hardware import processors
from contract.layout import CONF
from contract.locks import lock
from contract.models import MODELS
from contract.params import check
from report.markup import plural
from stages.durations import before
from studies import choices
from studies.composition import CONF_GROUPS
from studies.definition import Experiment, Study
from studies.engines import Slurm
from studies.overrides import check_choices
from studies.revisions import (
    Elsewhere,
    Settings,
    incomplete_at,
    last_lines,
    outdated,
    uncached_results,
)
from studies.runner import forecast_of, stages_of
from studies.slurm import client, scripts
from studies.slurm.folder import Cell, CommitFolder, Submission
from studies.slurm.prepare import WORK
from studies.slurm.workspaces import git
from studies.states import DONE, FAILED, QUEUED, RUNNING, UNDER_WAY

PREPARE, CELLS = "prepare.sh", "cells.sh"  # the scripts of a submission
REMOTE = "slurm"  # what DVC calls the cells' cache here
POLL_SECONDS = 10  # while the cluster is followed
GONE = "Slurm has ended it without a result"
# File systems that nodes of a cluster share, as /proc/mounts names them.
SHARED_SYSTEMS = {
    "9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4",
    "ocfs2", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs", "wekafs",
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """What the cluster has made of an experiment.

    Attributes:
        name: `done`, `failed`, `running`, `queued`, or empty if it has not been submitted.
        reason: why it failed or waits, in words.
        log: the end of a failed experiment's log.
    """

    name: str
    reason: str = ""
    log: str = ""


class SlurmEngine:
    """A cluster, as a study uses it from the repository in the working directory.

    Args:
        engine: its settings.
        at_once: how many experiments run at the same time at most.
        wait: whether a call lasts until all experiments have ended.
        dry_run: whether a call only prints what it would submit.
    """

    def __init__(
        self,
        engine: Slurm,
        at_once: int | None = None,
        wait: bool = False,
        dry_run: bool = False,
    ) -> None:
        self._engine = engine
        self._at_once = at_once or engine.at_once
        self._wait, self._dry_run = wait, dry_run
        self._elsewhere: dict[str, Elsewhere] = {}
        self._logs: dict[str, Path] = {}
        self._whole: set[str] = set()  # the commits of experiments whose results are all here
        self._repository = Path.cwd()
        self._environments = Path(sys.prefix).parent
        self._shared = self._repository / os.path.expanduser(engine.shared)

    def check(self) -> None:
        """Refuses what could not work, before anything is submitted.

        Raises:
            InputError: there is no Slurm, no such partition or no room; the nodes do not see the
                shared folder, or this process cannot write there; or the working tree has changes.
        """
        client.check_commands()
        if self._engine.partition is not None:
            client.check_partition(self._engine.partition)
        _check_shared(self._shared, self._engine.room_gb)
        changed = git(self._repository, "status", "--porcelain", "--untracked-files=no")
        if changed:
            files = [line[3:] for line in changed.splitlines()]
            problem = f"it has changes that are in no commit ({', '.join(files[:3])}"
            problem += ", …)" if len(files) > 3 else ")"
            remedy = "commit or stash them: the nodes run what is committed"
            raise InputError("the working tree", problem, remedy)

    def run(
        self,
        title: str,
        experiments: Sequence[Experiment],
        study: Study,
        settings: Settings,
    ) -> dict[str, str]:
        """Submits the experiments that are new or have failed, and fetches those that are done.

        Args:
            title: what the output calls the study.
            experiments: the experiments of the study.
            study: its definition.
            settings: settings of experiments that their names do not tell. An experiment that is
                done with others is run again.

        Returns:
            `done`, `failed`, `running` or `queued` by the experiment's name.

        Raises:
            InputError: `check` or Slurm refuses it.
        """
        _check_settings(experiments, study)
        if self._dry_run:
            self._print_plan(title, experiments, study)
            return {experiment.name: QUEUED for experiment in experiments}
        self.check()
        with Repo() as repo:
            head = repo.scm.get_rev()
            stages = stages_of(repo, study)
        folder = CommitFolder(self._shared, head)
        names = [experiment.name for experiment in experiments]
        with lock(folder.path / "submitting.lock", "another submission"):
            states = self._states(folder, head, names, stages, settings)
            todo = [e for e in experiments if states[e.name].name in ("", FAILED)]
            _print_failures(states)
            if todo:
                print(f"{title}: {len(todo)} to submit{self._time(folder, todo, study, stages)}")
                self._submit(title, folder, head, todo, experiments, study, stages)
                states = self._states(folder, head, names, stages, {})
        print(f"{title}: {_counts(states)}", flush=True)
        while self._wait and any(state.name in UNDER_WAY for state in states.values()):
            time.sleep(POLL_SECONDS)
            earlier, states = states, self._states(folder, head, names, stages, {})
            if _counts(states) != _counts(earlier):
                print(f"{title}: {_counts(states)}", flush=True)
        states = {name: state if state.name else _lost(state) for name, state in states.items()}
        if self._wait:
            _print_failures(states)
        for name, overrides in experiments:
            state, log = states[name], folder.cell(name).log
            if state.name != DONE:
                text = "\n".join(filter(None, (state.reason, state.log)))
                values = (state.name, text, (*study.overrides, *overrides))
                self._elsewhere[name] = Elsewhere(*values)
            if state.name == FAILED:
                self._logs[name] = log if log.is_file() else folder.path / "submissions"
        return {name: state.name for name, state in states.items()}

    def elsewhere(self) -> dict[str, Elsewhere]:
        """Returns the experiments that `run` has found without a result."""
        return self._elsewhere

    def log_of(self, name: str) -> str:
        """Returns where the log of a failed experiment is."""
        return str(self._logs[name])

    def _print_plan(self, title: str, experiments: Sequence[Experiment], study: Study) -> None:
        """Prints what `run` would submit, and how long it would take."""
        with Repo() as repo:
            head = repo.scm.get_rev()
            stages = stages_of(repo, study)
        folder = CommitFolder(self._shared, head)
        submission = folder.next_submission()
        print(
            f"{title}: 1 job that prepares, and an array of {len(experiments)}, of which "
            f"{self._at_once} run at the same time at most"
            f"{self._time(folder, experiments, study, stages)}"
        )
        for text in self._scripts(title, folder, submission, len(experiments)):
            print(f"\n{text}", end="")

    def _time(
        self,
        folder: CommitFolder,
        experiments: Sequence[Experiment],
        study: Study,
        stages: set[str],
    ) -> str:
        """Returns how long experiments will take, as the end of a sentence.

        It comes from the times of the same stages on the cluster or, before there are any, from
        this machine.
        """
        left = forecast_of(experiments, study, stages, folder.durations)
        where = "by the times of the same stages on the cluster"
        if left.unknown:
            left = forecast_of(experiments, study, stages)
            where = f"if its nodes are like this machine ({processors()})"
        if left.unknown:
            return "; how long they take shows when the first is done"
        hours = left.seconds / 3600
        gpus = _gpus(self._engine.gres) * self._engine.nodes
        cost = f"{hours * gpus:.1f} GPU-hours" if gpus else f"{hours:.1f} hours of nodes"
        return f"; about {cost}, {where}"

    def _scripts(
        self, title: str, folder: CommitFolder, submission: Path, cells: int
    ) -> tuple[str, str]:
        """Returns the scripts of the job that prepares and of the array."""
        return (
            scripts.preparation(title, self._engine, folder, submission, self._environments),
            scripts.array(title, self._engine, folder, submission, cells, self._at_once),
        )

    def _submit(
        self,
        title: str,
        folder: CommitFolder,
        head: str,
        experiments: Sequence[Experiment],
        every: Sequence[Experiment],
        study: Study,
        stages: set[str],
    ) -> None:
        """Submits experiments, after a job that prepares what they have in common.

        Args:
            title: what the output calls the study.
            folder: that of the commit.
            head: the commit.
            experiments: those to submit.
            every: all of the study.
            study: its definition.
            stages: the stages that each of them runs.
        """
        if not (folder.code / ".git" / "complete").is_file():
            remove(folder.code)
            folder.path.mkdir(parents=True, exist_ok=True)
            git(folder.path, "clone", "--quiet", str(self._repository), "code")
            git(folder.code, "checkout", "--quiet", "--detach", head)
            (folder.code / ".git" / "complete").touch()
        work = {
            "shared": str(self._shared),
            "repository": str(self._repository),
            "commit": head,
            "settings": [*study.overrides, *_common(every)],
            "targets": sorted(_of_data(stages)),
        }
        is_prepared = [*work["settings"], *work["targets"]] in folder.prepared()
        size = client.largest_array()
        parts = [experiments[n : n + size] for n in range(0, len(experiments), size)]
        submissions = [self._write(title, folder, head, part, study, work) for part in parts]
        for submission in submissions:
            client.check_script(submission / PREPARE)
            client.check_script(submission / CELLS)
        self._remove_refs(head, [experiment.name for experiment in experiments])
        prepare = None if is_prepared else client.submit(submissions[0] / PREPARE)
        after = "" if prepare is None else f", after job {prepare}, which prepares"
        try:
            for submission, part in zip(submissions, parts, strict=True):
                job = client.submit(submission / CELLS, after=prepare)
                names = [experiment.name for experiment in part]
                Submission(submission, names, prepare, job).keep()
                counted = plural(len(names), "experiment")
                print(f"{title}: submitted {counted} as job {job}{after}", flush=True)
        except BaseException:
            client.cancel([] if prepare is None else [prepare])
            raise

    def _write(
        self,
        title: str,
        folder: CommitFolder,
        head: str,
        experiments: Sequence[Experiment],
        study: Study,
        work: Mapping[str, object],
    ) -> Path:
        """Writes the cells and the scripts of a submission, and returns its folder."""
        cells = [folder.cell(experiment.name) for experiment in experiments]
        for cell, (name, overrides) in zip(cells, experiments, strict=True):
            settings = [*study.overrides, *overrides]
            values = (name, settings, study.targets, head, str(self._repository))
            cell.renew(Cell(*values, self._engine.requeues))
        submission = folder.new_submission()
        write(submission / scripts.CELLS, "".join(f"{cell.path}\n" for cell in cells))
        write(submission / WORK, json.dumps(work))
        texts = self._scripts(title, folder, submission, len(cells))
        for name, text in zip((PREPARE, CELLS), texts, strict=True):
            write(submission / name, text)
        return submission

    def _remove_refs(self, head: str, names: Sequence[str]) -> None:
        """Removes results that have to be replaced: DVC would not run their experiments again."""
        with Repo() as repo:
            for name in names:
                ref = str(ExpRefInfo(head, name))
                if repo.scm.get_ref(ref):
                    repo.scm.remove_ref(ref)

    def _states(
        self,
        folder: CommitFolder,
        head: str,
        names: Sequence[str],
        stages: set[str],
        settings: Settings,
    ) -> dict[str, State]:
        """Returns what the cluster has made of experiments, after fetching what is done.

        Args:
            folder: that of the commit.
            head: the commit.
            names: the names of the experiments.
            stages: the stages that each of them runs.
            settings: what those that are done have to be done with.
        """
        submissions = folder.submissions()
        # Slurm is asked first: what ends in the meantime then counts as running, and not as lost.
        jobs = [job for each in submissions for job in (each.prepare, each.array) if job]
        listed = {(task.job, task.index): task for task in client.tasks(jobs)}
        active: dict[str, State] = {}
        for submission in submissions:
            for index, name in enumerate(submission.cells):
                if task := listed.get((submission.array, index)):
                    active[name] = State(QUEUED if task.waiting else RUNNING, task.reason)
        with Repo(config=self._remote(folder)) as repo:
            done = {
                ref.name: repo.scm.get_ref(str(ref))
                for ref in exp_refs_by_baseline(repo.scm, {head})[head]
                if ref.name in names
            }
            new = {name: commit for name, commit in done.items() if commit not in self._whole}
            lacking = [rev for rev in new.values() if uncached_results(repo, rev, stages)]
            _fetch(repo, lacking, stages)
            incomplete = incomplete_at(repo, new, stages)
            self._whole |= {new[name] for name in new.keys() - incomplete.keys()}
            again = incomplete | outdated(repo, done, settings)
        states = {}
        for name in names:
            if name in done and name not in again:
                states[name] = State(DONE)
            elif name in active:
                states[name] = active[name]
            elif name in again:
                states[name] = State("", again[name])
            else:
                states[name] = _ended(folder, name, submissions, set(listed))
        return states

    def _remote(self, folder: CommitFolder) -> dict[str, dict[str, dict[str, str]]]:
        """Returns the configuration that makes the cells' cache a remote storage of DVC's."""
        return {"remote": {REMOTE: {"url": str(folder.cache)}}}


def _ended(
    folder: CommitFolder,
    name: str,
    submissions: Sequence[Submission],
    listed: set[tuple[int, int | None]],
) -> State:
    """Returns the state of an experiment that has no result and that Slurm does not have.

    Args:
        folder: that of the commit.
        name: the name of the experiment.
        submissions: all of the commit.
        listed: the jobs and tasks that Slurm has.
    """
    cell = folder.cell(name)
    own = [submission for submission in submissions if name in submission.cells]
    if not own or cell.read() is None:
        return State("")
    outcome, last = cell.outcome(), own[-1]
    if outcome is not None:
        # One that is done has had a result, which somebody has removed since.
        failed = outcome.state == FAILED
        return State(FAILED, outcome.reason, cell.last_lines()) if failed else State("")
    if not cell.log.is_file():
        task_log = last.folder / f"{last.cells.index(name)}.log"
        log = last_lines(task_log) or last_lines(last.folder / "prepare.log")
        return State(FAILED, f"{GONE}, before it began", log)
    return State(FAILED, GONE, cell.last_lines())


def _fetch(repo: Repo, commits: Sequence[str], stages: set[str]) -> None:
    """Fetches what stages of some experiments have made from the cells' cache, if it is there."""
    if commits:
        with suppress(DvcException):  # what is lost shows, and is run again
            repo.fetch(sorted(stages), remote=REMOTE, revs=list(commits), workspace=False)


def _gpus(gres: str | None) -> int:
    """Returns how many GPUs a node gets by an option of sbatch, as 2 by `gpu:a100:2`."""
    parts = [part.split(":") for part in (gres or "").split(",") if part.split(":")[0] == "gpu"]
    return sum(int(part[-1]) if part[-1].isdigit() else 1 for part in parts)


def _common(experiments: Sequence[Experiment]) -> list[str]:
    """Returns the settings that all experiments have, as far as they may change the data."""
    first, *others = (experiment.overrides for experiment in experiments)
    return [text for text in first if all(text in overrides for overrides in others)]


def _lost(state: State) -> State:
    """Returns the state of an experiment whose result is not what it has to be."""
    return State(FAILED, state.reason or "its result is gone; the same command runs it again")


def _of_data(stages: set[str]) -> set[str]:
    """Returns those of some stages that do not depend on a training: they make the data."""
    trainings = {f"train_{key}" for key in MODELS}
    return {stage for stage in stages if trainings.isdisjoint({stage, *before(stage)})}


def _check_settings(experiments: Sequence[Experiment], study: Study) -> None:
    """Refuses experiments that cannot be composed.

    Raises:
        InputError: the settings of one are wrong.
    """
    for name, overrides in experiments:
        settings = (*study.overrides, *overrides)
        check_choices(settings, CONF_GROUPS)
        try:
            check(choices.composed(CONF.absolute(), settings))
        except (HydraException, OmegaConfBaseException) as error:
            said = " ".join(str(error).splitlines()[0].split())
            raise InputError(name, said, "correct the study or SET") from error


def _check_shared(shared: Path, room_gb: int) -> None:
    """Refuses a shared folder in which the nodes could not work.

    Raises:
        InputError: this process cannot write there, the nodes do not see it, or it has no room.
    """
    where = "ENGINE, shared"
    try:
        shared.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=shared):
            pass
    except OSError as error:
        problem = f"cannot write to {shared} ({(error.strerror or str(error)).lower()})"
        raise InputError(where, problem, "name a folder of your own that all nodes see") from error
    elsewhere = client.hosts() - {socket.gethostname(), socket.getfqdn(), "localhost"}
    system = _file_system(shared)
    if elsewhere and system not in SHARED_SYSTEMS and not system.startswith("fuse"):
        problem = (
            f"{shared} lies on a disk of this machine ({system}), which other nodes do not see"
        )
        raise InputError(where, problem, "name a folder on a file system of the whole cluster")
    free = shutil.disk_usage(shared).free
    if free < room_gb * 1e9:
        problem = f"{shared} has {free / 1e9:.1f} GB of room, and needs {room_gb}"
        raise InputError(where, problem, "make room, or set room_gb to what the study needs")


def _file_system(path: str | os.PathLike[str]) -> str:
    """Returns the type of the file system on which a folder lies, as /proc/mounts names it."""
    path = Path(path).resolve()
    mounts = [mount for mount in psutil.disk_partitions(all=True) if mount.mountpoint]
    holding = [mount for mount in mounts if path.is_relative_to(mount.mountpoint)]
    return max(holding, key=lambda mount: len(mount.mountpoint)).fstype if holding else ""


def _counts(states: Mapping[str, State]) -> str:
    """Returns how many experiments are in each state, in words."""
    counts = Counter(state.name for state in states.values())
    parts = [f"{counts[name]} {name}" for name in (DONE, RUNNING, QUEUED, FAILED) if counts[name]]
    return f"{plural(len(states), 'experiment')}: {', '.join(parts)}"


def _print_failures(states: Mapping[str, State]) -> None:
    """Prints why experiments have failed, with the end of the log of each, or run again."""
    for name, state in states.items():
        if state.name == FAILED:
            print(f"failed   {name}: {state.reason}")
            for line in state.log.splitlines():
                print(f"         | {line}")
        elif state.reason and not state.name:
            print(f"rerun    {name}: {state.reason}")
