"""Runs a study's experiments through DVC's queue, to the end of each, whatever happens to it.

Workers that die are replaced and the experiments that they had are retried; a commit in the
meantime, Ctrl-C and results that DVC's cache has lost are taken care of as well.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.queue.celery import LocalCeleryQueue
from dvc.repo.experiments.queue.remove import remove_tasks
from dvc.repo.experiments.refs import ExpRefInfo
from dvc.repo.experiments.utils import exp_refs, exp_refs_by_baseline
from dvc.stage import PipelineStage
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from contract.errors import InputError
from contract.layout import CONF
from contract.models import MODELS
from contract.params import check
from stages.durations import TIMELESS, Forecast, before, forecast, in_words
from stages.runtime import gpus
from studies import choices, queue_workers
from studies.definition import Experiment, Study
from studies.queue_messages import QueuedExperiment, QueueReader
from studies.queueing import Queueing
from studies.revisions import Settings, incomplete_at, outdated, states_at, unfinished
from studies.tuning import Cell

POLL_SECONDS = 2
MOST_ATTEMPTS = 3  # attempts at an experiment whose workers die
# Seconds after which an experiment that is lost, or has no living worker, is given up.
LOST_SECONDS = 60
DEAD_SECONDS = 10
# Seconds after which a worker is stopped that takes nothing although something is queued.
IDLE_SECONDS = 60
STOP_SECONDS = 60  # seconds after which workers that were asked to stop are killed
READ_ATTEMPTS = 10

# What DVC has printed about edits of the composed files, which every experiment overwrites.
_printed_edits: set[str] = set()


def run_experiments(
    title: str,
    experiments: Sequence[Experiment],
    study: Study,
    jobs: int,
    settings: Settings | None = None,
) -> dict[str, str]:
    """Runs the experiments that are not done at the current commit.

    Ctrl-C and SIGTERM stop them; their trainings keep their checkpoints.

    Args:
        title: what the output calls the study.
        experiments: the experiments of the study.
        study: its definition.
        jobs: how many experiments run at a time.
        settings: settings of experiments that their names do not tell. An experiment that is done
            with others is run again.

    Returns:
        `done` or `failed` by the experiment's name.

    Raises:
        InputError: DVC's queue cannot be read, or keeps losing an experiment.
    """
    try:
        return _run_at_current_commit(title, experiments, study, jobs, settings or {})
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, KeyboardInterrupt) or error.code == 128 + signal.SIGTERM:
            _stop({experiment.name for experiment in experiments})
        raise


def _run_at_current_commit(
    title: str,
    experiments: Sequence[Experiment],
    study: Study,
    jobs: int,
    settings: Settings,
) -> dict[str, str]:
    """Runs the experiments, and starts over if the current commit changes in the meantime."""
    names = [experiment.name for experiment in experiments]
    while True:
        with Repo() as repo:
            head = repo.scm.get_rev()
            states = states_at(repo, head)
            done_elsewhere = _done_elsewhere(repo, head)
            stages = stages_of(repo, study)
            done = {
                name: repo.scm.get_ref(str(ExpRefInfo(head, name)))
                for name in names
                if states.get(name) == "done"
            }
            incomplete = incomplete_at(repo, done, stages) | outdated(repo, done, settings)
        under_way = [
            name
            for name in names
            if states.get(name) in ("done", "running") and name not in incomplete
        ]
        waiting = [experiment for experiment in experiments if experiment.name not in under_way]
        counts = f"{len(names)} experiments, {len(under_way)} of them done or running"
        print(f"{title}: {counts}{time_left(waiting, study, stages)}")
        for name in names:
            if name in incomplete:
                print(f"rerun    {name}: {incomplete[name]}")
            elif name in done_elsewhere and name not in under_way:
                print(
                    f"rerun    {name}: it is done at {done_elsewhere[name][:7]}, not at the "
                    "current commit; DVC's run cache restores what has not changed since"
                )
        _enqueue(waiting, study, head, incomplete)
        final_states = _Supervisor(experiments, study, head, jobs, done_elsewhere).follow()
        with Repo() as repo:
            new_head = repo.scm.get_rev()
        if new_head == head:
            return final_states
        change = f"the current commit has changed from {head[:7]} to {new_head[:7]}"
        print(f"{change}; the study continues there", flush=True)


def _done_elsewhere(repo: Repo, head: str) -> dict[str, str]:
    """Returns, by the experiment's name, a commit other than `head` at which it is done."""
    return {ref.name: ref.baseline_sha for ref in exp_refs(repo.scm) if ref.baseline_sha != head}


def stages_of(repo: Repo, study: Study) -> set[str]:
    """Returns the stages that a study's targets need.

    Args:
        repo: the repository.
        study: its definition.
    """
    targets = study.targets or [None]
    stages = {s for target in targets for s in repo.stage.collect(target, with_deps=True)}
    return {stage.name for stage in stages if isinstance(stage, PipelineStage)}


def time_left(experiments: Sequence[Experiment], study: Study, stages: set[str]) -> str:
    """Returns how long experiments will take on this machine, as the end of a sentence.

    It is the sum of their times: experiments that run side by side share the processors.

    Args:
        experiments: those that will run.
        study: their study.
        stages: those that each of them runs.
    """
    if not experiments:
        return ""
    try:
        left = forecast_of(experiments, study, stages)
    except (InputError, HydraException, OmegaConfBaseException):
        return ""  # Queueing says in one line what is wrong with the settings.
    if left.unknown:
        return "; how long they take shows when the first is done"
    return f"; about {in_words(left.seconds)} to go" + (
        "" if left.measured else " once the data is there"
    )


def forecast_of(
    experiments: Sequence[Experiment],
    study: Study,
    stages: set[str],
    elsewhere: Path | None = None,
) -> Forecast:
    """Returns how long experiments will take, one after the other.

    Args:
        experiments: those that will run.
        study: their study.
        stages: those that each of them runs.
        elsewhere: as of `stages.durations.forecast`.

    Returns:
        The sum of what each of them repeats; `measured` is whether the data is there, too.

    Raises:
        InputError: a value of the configuration is wrong.
        HydraException: an experiment cannot be composed.
        OmegaConfBaseException: the same.
    """
    training = {f"train_{model}" for model in MODELS}
    repeated = {stage for stage in stages if not training.isdisjoint({stage, *before(stage)})}
    seconds, ready, unknown = 0.0, True, []
    for overrides, count in alike(experiments, study).items():
        configuration = choices.composed(CONF.absolute(), overrides)
        check(configuration)
        one = forecast(sorted(repeated), configuration, elsewhere)
        data = forecast(sorted(stages - repeated), configuration, elsewhere)
        seconds += one.seconds * count
        unknown += one.unknown
        ready = ready and data.measured and not data.unknown
    return Forecast(seconds, ready, tuple(dict.fromkeys(unknown)))


def jobs_for_gpus(experiments: Sequence[Experiment], study: Study) -> int:
    """Returns how many of a study's experiments have all GPUs that they request at the same time.

    Args:
        experiments: the experiments.
        study: their study.

    Returns:
        The number; 1 where there are no GPUs, or where an experiment cannot be composed, which
        queueing says in one line.
    """
    kinds = alike(experiments, study)
    try:
        composed = (choices.composed(CONF.absolute(), overrides) for overrides in kinds)
        requests = {str(c["runtime"]["gpus"]): c["runtime"]["gpus"] for c in composed}
        return min(map(gpus.runs_at_once, requests.values()), default=1)
    except (HydraException, OmegaConfBaseException):
        return 1


def alike(experiments: Iterable[Experiment | Cell], study: Study) -> Counter[tuple[str, ...]]:
    """Counts the experiments that take equally long.

    Args:
        experiments: the experiments of a study, or the cells of a tuned one.
        study: its definition.

    Returns:
        Their number by those of their overrides that may change how long they take.
    """
    return Counter(
        tuple(
            override
            for override in (*study.overrides, *experiment.overrides)
            if override.split("=")[0].split(".")[0] not in TIMELESS
        )
        for experiment in experiments
    )


def _enqueue(
    experiments: Sequence[Experiment], study: Study, head: str, replaced: Collection[str] = ()
) -> None:
    """Queues all experiments or, if one is refused, none.

    They take the place of those of their names that are queued already, or have failed.

    Args:
        experiments: those to queue.
        study: their study.
        head: the current commit.
        replaced: the names of those that are done but have to run again: DVC would not run them
            while they are known to it.
    """
    if not experiments:
        return
    with Repo() as repo:
        in_queue = unfinished(repo)
    earlier = {
        in_queue[name, head][0].stash_rev: name
        for name, _ in experiments
        if (name, head) in in_queue
    }
    removed: dict[str, str] = {}
    queued: list[str] = []
    try:
        with Queueing() as queueing:
            # By their commits: an experiment of another baseline may have the same name.
            taken = {earlier[commit] for commit in queueing.remove(list(earlier))}
            for name, overrides in experiments:
                if name in taken:
                    continue
                if name in replaced:
                    ref = str(ExpRefInfo(head, name))
                    with Repo() as repo:
                        removed[ref] = repo.scm.get_ref(ref)
                        repo.scm.remove_ref(ref)
                queued.append(name)
                settings = [*study.overrides, *overrides]
                for line in queueing.add(name, settings, study.targets):
                    if line not in _printed_edits:
                        print(line, file=sys.stderr, flush=True)
                        _printed_edits.add(line)
                print(f"queued   {name}", flush=True)
    except BaseException:
        _take_back(queued, head, removed)
        raise


def _take_back(names: Collection[str], head: str, removed: Mapping[str, str]) -> None:
    """Removes experiments from the queue that no worker has taken.

    Args:
        names: their names.
        head: the commit that they start from.
        removed: the commits of done experiments that they replace, by their refs, which come back.
    """
    with Repo() as repo:
        in_queue = unfinished(repo)
        waiting = [in_queue.get((name, head), (None, None)) for name in names]
        entries = [entry for entry, state in waiting if state == "queued"]
        remove_tasks(repo.experiments.celery_queue, entries)
        for ref, commit in removed.items():
            if not repo.scm.get_ref(ref):
                repo.scm.set_ref(ref, commit)


class _LostExperiment(NamedTuple):
    """An experiment that will not come to an end by itself.

    Attributes:
        reason: why.
        patience: seconds for which it may look lost without being so.
        settle: records in DVC, and in the experiment's log, that it has failed; called with the
            queue and `reason`.
    """

    reason: str
    patience: float
    settle: Callable[..., None]


class _Snapshot(NamedTuple):
    """DVC's queue at one moment.

    Attributes:
        states: `done`, `queued`, `running` or `failed` by the experiment's name.
        lost: the lost experiments of the study by name.
        workers: the living workers, each with the id of its task.
    """

    states: dict[str, str]
    lost: dict[str, _LostExperiment]
    workers: dict[psutil.Process, str | None]


class _Supervisor:
    """Follows queued experiments until each is done or has failed, and retries those that are lost.

    Args:
        experiments: all of the study.
        study: its definition.
        head: the commit that they start from.
        jobs: how many workers run them.
        done_elsewhere: the names of experiments that are done at another commit.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        study: Study,
        head: str,
        jobs: int,
        done_elsewhere: Collection[str],
    ) -> None:
        self._experiments = {experiment.name: experiment for experiment in experiments}
        self._study = study
        self._head = head
        self._jobs = jobs
        self._done_elsewhere = done_elsewhere
        self._attempts = Counter(list(self._experiments))
        self._reader = QueueReader()
        self._printed: dict[str, str] = {}  # the state that was printed last, by name
        self._lost_since: dict[str, float] = {}  # monotonic seconds, by name
        self._began = time.monotonic()
        self._ended_before: int | None = None  # how many had ended at the first look

    def follow(self) -> dict[str, str]:
        """Returns the states of all experiments when each is done or has failed."""
        previous: dict[str, str] = {}
        changed = time.monotonic()
        while True:
            states, lost, workers = _look(self._head, set(self._experiments), self._reader)
            now = time.monotonic()
            self._handle_lost(lost, states, now)
            ended = [name for name in self._experiments if states.get(name) in ("done", "failed")]
            if self._ended_before is None:
                self._ended_before = len(ended)
            self._print_changes(states, ended)
            if len(ended) == len(self._experiments):
                _stop_unused_workers()
                return states
            if states != previous:
                previous, changed = states, now
            if "queued" in states.values():
                self._provide_workers(workers, unchanged_seconds=now - changed)
            time.sleep(POLL_SECONDS)

    def _handle_lost(
        self, lost: dict[str, _LostExperiment], states: dict[str, str], now: float
    ) -> None:
        """Retries lost experiments, or settles that they failed, and updates their states."""
        self._lost_since = {name: self._lost_since.get(name, now) for name in lost}
        for name, experiment in lost.items():
            if now - self._lost_since[name] < experiment.patience:
                continue
            if self._attempts[name] < MOST_ATTEMPTS and _head() == self._head:
                _settle(experiment)
                print(f"retry    {name}: {experiment.reason}", flush=True)
                _enqueue([self._experiments[name]], self._study, self._head)
                self._attempts[name] += 1
                states[name] = self._printed[name] = "queued"
                continue
            attempt = f" (attempt {self._attempts[name]} of {MOST_ATTEMPTS})"
            if name not in states:  # DVC does not know it: the report could not show that it failed
                raise InputError(name, experiment.reason + attempt, "repeat the command")
            _settle(experiment, attempt)
            states[name] = "failed"

    def _count(self, ended: int) -> str:
        """Returns how many experiments have ended, and how long the others will take."""
        count = f"{ended} of {len(self._experiments)}"
        left = len(self._experiments) - ended
        ended_here = ended - (self._ended_before or 0)
        if not left or ended_here <= 0:
            return count
        seconds = (time.monotonic() - self._began) / ended_here * left
        return f"{count}, about {in_words(seconds)} to go"

    def _print_changes(self, states: dict[str, str], ended: list[str]) -> None:
        """Prints the experiments that started or ended since the last call."""
        for name in self._experiments:
            state = states.get(name)
            if state not in ("running", "done", "failed") or self._printed.get(name) == state:
                continue
            count = f" ({self._count(len(ended))})" if name in ended else ""
            origin = ""
            if state == "done" and name in self._done_elsewhere:
                origin = _origin(name, self._head)
            print(f"{state:8} {name}{count}{origin}", flush=True)
            self._printed[name] = state

    def _provide_workers(
        self, workers: dict[psutil.Process, str | None], unchanged_seconds: float
    ) -> None:
        """Starts workers for what is queued, and stops those that take nothing.

        Args:
            workers: the living ones, each with the id of its task.
            unchanged_seconds: for how long no experiment has changed its state.
        """
        idle = [worker for worker, task in workers.items() if task is None]
        if idle and unchanged_seconds > IDLE_SECONDS:
            queue_workers.stop(idle)
        elif len(workers) < self._jobs:
            with Repo() as repo:
                queue_workers.start(repo.experiments.celery_queue, self._jobs)


def _look(head: str, names: set[str], reader: QueueReader) -> _Snapshot:
    """Returns what DVC's queue is doing at this moment.

    Args:
        head: the commit that the experiments start from.
        names: the names of the study's experiments.
        reader: what reads DVC's queue.

    Raises:
        InputError: DVC cannot read its queue, even after some time.
    """
    for _ in range(READ_ATTEMPTS):
        try:
            with Repo() as repo:
                queue = repo.experiments.celery_queue
                experiments = reader.read(queue)
                workers = queue_workers.living_workers(queue)
                at_head = [each for each in experiments if each.entry.baseline_rev == head]
                done = {ref.name for ref in exp_refs_by_baseline(repo.scm, {head})[head]}
                states = {each.entry.name: each.state for each in at_head if each.state != "done"}
                lost = _lost(queue, at_head, names - done, workers)
                return _Snapshot(states | dict.fromkeys(done, "done"), lost, workers)
        except (DvcException, OSError, ValueError) as error:
            # DVC's workers write these files while they are read.
            reason = " ".join(str(error).split())
            time.sleep(1)
    problem = f"DVC cannot read its queue there ({reason})"
    raise InputError(".dvc/tmp/exps", problem, "repeat the command")


def _lost(
    queue: LocalCeleryQueue,
    experiments: Sequence[QueuedExperiment],
    names: set[str],
    workers: Mapping[psutil.Process, str | None],
) -> dict[str, _LostExperiment]:
    """Returns those of some unfinished experiments that will not come to an end by themselves.

    Args:
        queue: DVC's experiment queue.
        experiments: what it holds of the study's commit.
        names: the names of the unfinished experiments.
        workers: the living workers, each with the id of its task.
    """
    in_queue = {each.entry.name: each for each in experiments if each.state != "done"}
    lost = {}
    for name in names:
        experiment = in_queue.get(name)
        if experiment is None:
            lost[name] = _LostExperiment("DVC's queue lost it", LOST_SECONDS, _nothing_to_settle)
        elif experiment.state == "failed" and (
            error := queue_workers.setup_error(queue, experiment.entry)
        ):
            settle = partial(queue_workers.log_reason, entry=experiment.entry)
            lost[name] = _LostExperiment(f"DVC could not set it up ({error})", 0, settle)
    running = [each for name, each in in_queue.items() if name in names and each.state == "running"]
    for orphan in queue_workers.orphans(queue, running, workers):
        settle = partial(queue_workers.mark_as_failed, experiment=orphan)
        lost[orphan.entry.name] = _LostExperiment("its worker died", DEAD_SECONDS, settle)
    return lost


def _nothing_to_settle(queue: LocalCeleryQueue, *, reason: str) -> None:
    """Settles an experiment of which DVC has no trace."""


def _settle(experiment: _LostExperiment, addition: str = "") -> None:
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        experiment.settle(queue, reason=experiment.reason + addition)


def _stop_unused_workers() -> None:
    """Stops the workers and waits for their end, unless other experiments are queued.

    They should end by themselves, but under load many of them wait for ever. What is queued next
    must not be taken by a worker that is about to end.
    """
    reader, stopped = QueueReader(), set()
    began = time.monotonic()
    while True:
        with Repo() as repo:
            queue = repo.experiments.celery_queue
            states = {experiment.task: experiment.state for experiment in reader.read(queue)}
            if "queued" in states.values():
                return
            workers = queue_workers.living_workers(queue)
        queue_workers.stop(workers.keys() - stopped)
        stopped |= workers.keys()
        ending = [worker for worker, task in workers.items() if states.get(task) != "running"]
        if not ending:
            return
        if time.monotonic() - began > STOP_SECONDS:
            queue_workers.kill(ending)
        psutil.wait_procs(ending, timeout=1)


def _head() -> str:
    with Repo() as repo:
        return repo.scm.get_rev()


def _origin(name: str, head: str) -> str:
    """Returns whether an experiment that was done at another commit was trained again, in words."""
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        # The results exist a moment before the worker has ended the experiment.
        for _, entry, state in QueueReader().read(queue):
            process = queue.proc.get(entry.stash_rev)
            of_this = (entry.name, entry.baseline_rev) == (name, head)
            if of_this and state in ("done", "running") and process:
                trained = "Running stage 'train_" in Path(process.stdout).read_text()
                return ", trained again" if trained else ", from DVC's run cache"
    return ""


def _stop(names: set[str]) -> None:
    """Interrupts the running experiments of the study and stops the workers.

    Args:
        names: the names of the study's experiments.
    """
    # A second Ctrl-C does not interrupt this: it ends by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("stopping; the same command resumes", flush=True)
    began = time.monotonic()
    signalled: set[psutil.Process] = set()
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        while not _try_to_stop(queue, names, signalled, time.monotonic() - began):
            time.sleep(0.5)


def _try_to_stop(
    queue: LocalCeleryQueue, names: set[str], signalled: set[psutil.Process], seconds: float
) -> bool:
    """Signals the processes of the study's experiments and the workers, once to each.

    Args:
        queue: DVC's experiment queue.
        names: the names of the study's experiments.
        signalled: the processes that have got their signal, to which these are added.
        seconds: since the first call.

    Returns:
        Whether all of them have ended.
    """
    try:
        experiments = QueueReader().read(queue)
        workers = queue_workers.living_workers(queue)
        running = [e for e in experiments if e.state == "running" and e.entry.name in names]
        orphans = queue_workers.orphans(queue, running, workers)
    except (DvcException, OSError, ValueError):  # a worker was writing what was read
        return False
    queue_workers.stop(set(workers) - signalled)
    signalled |= set(workers)
    for experiment in running:
        # One that a worker has just taken gets its process in a moment: the next call sees it.
        queue_workers.interrupt(queue, experiment.entry, signalled)
        if experiment in orphans and seconds > DEAD_SECONDS:
            queue_workers.mark_as_failed(queue, experiment, "stopped")
    tasks = {experiment.task for experiment in running}
    ending = {worker for worker, task in workers.items() if task is None or task in tasks}
    if seconds > STOP_SECONDS:
        queue_workers.kill(ending)
    return not running and not ending
