"""`make study NAME=mini`: runs a study's experiments with DVC's queue, and writes their report.

A study is a file in conf/study/: what all its experiments have in common (`overrides`), the choices
that they cross (`cells`), the stages to run if not all (`targets`), and the cell that the report
compares the others with (`baseline`). Every cell is repeated for each seed, from the study's first.
Experiments are named after the study, their choices and their seed. One that is done at the present
commit is not run again; Ctrl-C stops them, and the same command goes on.
"""

import argparse
import hashlib
import itertools
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.queue.celery import LocalCeleryQueue
from dvc.repo.experiments.refs import ExpRefInfo
from dvc.repo.experiments.utils import exp_refs
from dvc.stage import PipelineStage
from pydantic import Field, ValidationError

from metrics.arguments import Parser
from metrics.errors import InputError
from metrics.report.files import write_comparison
from metrics.report.markup import plural
from metrics.repository import check_repository
from metrics.revisions import lost, states_at, unfinished
from metrics.yaml_files import read_yaml
from stages import queue_workers
from stages.hand_edits import PARAMS
from stages.overrides import check_setting, split_settings
from stages.params import Strict, Whole
from stages.run import run

STUDIES = Path("conf/study")
GROUPS = ("optimizer", "schedule", "clipping")
REPORTS = Path("reports")
POLL_SECONDS = 2
LONGEST_NAME = 200  # of an experiment: git has files of that name and more
TRIES = 3  # of an experiment whose worker dies
# An experiment that is nowhere, or with no living worker, for so long will not come back.
LOST_SECONDS = 60
DEAD_SECONDS = 10
IDLE_SECONDS = 60  # that a worker may take nothing while something is queued
STOP_SECONDS = 60  # that stopping may take
READ_TRIES = 10

Choice = str | int | float

_told: set[str] = set()  # what is said of an edited params.yaml, which all experiments overwrite


class Study(Strict):
    """A file of conf/study/."""

    overrides: list[str]
    cells: list[dict[str, Choice | list[Choice]]]
    baseline: dict[str, Choice]
    seed: Whole = 0  # of every cell's first run; its repetitions count on from there
    targets: list[str] = Field(default_factory=list)


class Experiment(NamedTuple):
    name: str
    overrides: list[str]


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("name", help="of a file in conf/study/")
    parser.add_argument("--seeds", type=_count, default=1, help="how often each cell is run")
    parser.add_argument("--jobs", type=_count, default=1, help="how many experiments at a time")
    parser.add_argument(
        *("-S", "--set"), action="append", default=[], metavar="KEY=VALUE", help="for all of them"
    )
    parser.add_argument(
        "--settings", default="", metavar="TEXT", help="several KEY=VALUE, with spaces between them"
    )
    options = parser.parse_args()
    check_repository(Path.cwd(), temporary=True)
    study = read(options.name)
    together = split_settings(options.settings)
    for setting in together:
        check_setting(setting, "SET")
    settings = [*options.set, *together]
    wanted = experiments(options.name, study, options.seeds, settings)
    names = [experiment.name for experiment in wanted]
    found = carry_out(options.name, wanted, study, options.jobs)
    write_comparison(names, _baseline(wanted, study), REPORTS / f"{options.name}.html")
    failed = [name for name in names if found[name] == "failed"]
    for name in failed:
        print(f"failed: {name} (see: dvc queue logs {name})", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 or more")
    return int(text)


def carry_out(title: str, wanted: list[Experiment], study: Study, jobs: int) -> dict[str, str]:
    """Has DVC's queue run what is not done at the present commit. Ctrl-C and SIGTERM stop it.

    Returns:
        By name, `done` or `failed`.
    """
    try:
        return _carry_out(title, wanted, study, jobs)
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, KeyboardInterrupt) or error.code == 128 + signal.SIGTERM:
            _stop({experiment.name for experiment in wanted})
        raise


def _carry_out(title: str, wanted: list[Experiment], study: Study, jobs: int) -> dict[str, str]:
    while True:
        with Repo() as repo:
            head = repo.scm.get_rev()
            found = states_at(repo, head)
            elsewhere = _done_elsewhere(repo, head)
            incomplete = _incomplete(repo, head, wanted, study, found)
        names = [experiment.name for experiment in wanted]
        under_way = [
            name
            for name in names
            if found.get(name) in ("done", "running") and name not in incomplete
        ]
        print(f"{title}: {len(names)} experiments, {len(under_way)} of them done or running")
        for name in names:
            if name in incomplete:
                print(f"again    {name}: DVC's cache has lost its {', '.join(incomplete[name])}")
            elif name in elsewhere and name not in under_way:
                print(
                    f"again    {name}: done at {elsewhere[name][:7]}, which is not the present "
                    "commit; what has not changed since comes from DVC's run cache"
                )
        waiting = [each for each in wanted if each.name not in under_way]
        _queue(waiting, study, head, set(incomplete))
        ended = _follow(wanted, study, head, jobs, elsewhere)
        with Repo() as repo:
            if (now := repo.scm.get_rev()) == head:
                return ended
        print(f"the present commit was {head[:7]} and is {now[:7]} now: on from there", flush=True)


def _done_elsewhere(repo: Repo, head: str) -> dict[str, str]:
    """By name, another commit that an experiment was done at."""
    return {ref.name: ref.baseline_sha for ref in exp_refs(repo.scm) if ref.baseline_sha != head}


def _incomplete(
    repo: Repo, head: str, wanted: list[Experiment], study: Study, found: dict[str, str]
) -> dict[str, list[str]]:
    """By name, the results that are gone of an experiment which was done."""
    stages = _stages(repo, study)
    missing = {
        each.name: lost(repo, repo.scm.get_ref(str(ExpRefInfo(head, each.name))), stages)
        for each in wanted
        if found.get(each.name) == "done"
    }
    return {name: paths for name, paths in missing.items() if paths}


def _stages(repo: Repo, study: Study) -> set[str]:
    """The stages that the study's targets take."""
    targets = study.targets or [None]
    found = {s for target in targets for s in repo.stage.collect(target, with_deps=True)}
    return {stage.name for stage in found if isinstance(stage, PipelineStage)}


def _queue(wanted: list[Experiment], study: Study, head: str, incomplete: set[str]) -> None:
    """Queues all of them or, where one is refused, none."""
    queued, replaced = [], {}
    try:
        for experiment in wanted:
            if experiment.name in incomplete:
                ref = str(ExpRefInfo(head, experiment.name))
                with Repo() as repo:
                    replaced[ref] = repo.scm.get_ref(ref)
                    repo.scm.remove_ref(ref)
            queued.append(experiment.name)
            if _enqueue(experiment, study, head):
                print(f"queued   {experiment.name}", flush=True)
    except BaseException:
        with Repo() as repo:
            waiting = unfinished(repo)
            for name in queued:
                entry, state = waiting.get((name, head), (None, None))
                if state == "queued":
                    repo.experiments.celery_queue.remove([entry.stash_rev])
            for ref, commit in replaced.items():
                if not repo.scm.get_ref(ref):
                    repo.scm.set_ref(ref, commit)
        raise


def _enqueue(experiment: Experiment, study: Study, head: str) -> bool:
    """Queues an experiment, in place of one of its name that waits as it was set then or failed.
    → False if a worker has taken that meanwhile"""
    with Repo() as repo:
        entry, _ = unfinished(repo).get((experiment.name, head), (None, None))
    if entry:
        try:
            # By its number: an experiment of another commit may have the same name.
            _dvc("queue", "remove", entry.stash_rev)
        except SystemExit:
            with Repo() as repo:
                if states_at(repo, head).get(experiment.name) in ("running", "done"):
                    return False
            raise
    settings = [*study.overrides, *experiment.overrides]
    flags = [part for setting in settings for part in ("-S", setting)]
    said = _dvc("exp", "run", "--queue", "--name", experiment.name, *flags, *study.targets)
    for line in said.splitlines():
        if line.startswith(f"{PARAMS}: ") and line not in _told:
            print(line, file=sys.stderr, flush=True)
            _told.add(line)
    return True


def _follow(
    wanted: list[Experiment], study: Study, head: str, jobs: int, elsewhere: Collection[str]
) -> dict[str, str]:
    """Has workers run what is queued, tells what becomes of it, and queues again what was lost.
    → the states in the end"""
    experiments = {experiment.name: experiment for experiment in wanted}
    tries = Counter(list(experiments))
    told: dict[str, str] = {}
    lost_since: dict[str, float] = {}
    before: dict[str, str] = {}
    changed = time.monotonic()
    while True:
        found, lost_ones, busy = _look(head, set(experiments))
        now = time.monotonic()
        lost_since = {name: lost_since.get(name, now) for name in lost_ones}
        for name, lost_one in lost_ones.items():
            if now - lost_since[name] < lost_one.patience:
                continue
            if tries[name] == TRIES or _head() != head:
                tried = f"; it was tried {plural(tries[name], 'time')}"
                if name not in found:  # so that there is nothing to report
                    raise InputError(name, lost_one.reason + tried, "an experiment that it keeps")
                _settle(lost_one, tried)
                found[name] = "failed"
            else:
                _settle(lost_one)
                print(f"again    {name}: {lost_one.reason}", flush=True)
                _enqueue(experiments[name], study, head)
                tries[name] += 1
                found[name] = told[name] = "queued"
        ended = [name for name in experiments if found.get(name) in ("done", "failed")]
        for name in experiments:
            state = found.get(name)
            if state in ("running", "done", "failed") and told.get(name) != state:
                count = f" ({len(ended)} of {len(experiments)})" if name in ended else ""
                how = _how(name, head) if state == "done" and name in elsewhere else ""
                print(f"{state:8} {name}{count}{how}", flush=True)
                told[name] = state
        if len(ended) == len(experiments):
            with Repo() as repo:
                queue = repo.experiments.celery_queue
                if not any(queue.iter_queued()):
                    # They should end by themselves, but under load many wait for ever.
                    queue_workers.stop(queue_workers.alive(queue))
            return found
        if found != before:
            before, changed = found, now
        if "queued" in found.values():
            idle = [worker for worker, task in busy.items() if task is None]
            if idle and now - changed > IDLE_SECONDS:
                queue_workers.stop(idle)  # it lives and takes nothing
            elif len(busy) < jobs:
                with Repo() as repo:
                    queue_workers.start(repo.experiments.celery_queue, jobs)
        time.sleep(POLL_SECONDS)


class _Lost(NamedTuple):
    """An experiment that will not come to an end by itself."""

    reason: str
    patience: float  # seconds that it may look so without being so
    settle: Callable[..., None]  # has DVC and the experiment's log know


def _look(
    head: str, names: set[str]
) -> tuple[dict[str, str], dict[str, _Lost], dict[psutil.Process, str | None]]:
    """How far DVC has come with all experiments, which of the `names` are lost, and the workers."""
    for _ in range(READ_TRIES):
        try:
            with Repo() as repo:
                found = states_at(repo, head)
                lost_ones = _lost(repo, head, {n for n in names if found.get(n) != "done"})
                return found, lost_ones, queue_workers.alive(repo.experiments.celery_queue)
        except (DvcException, OSError, ValueError) as error:
            # DVC's workers write these files while they are read.
            reason = error
            time.sleep(1)
    raise InputError(".dvc/tmp/exps", " ".join(str(reason).split()), "a queue that DVC can read")


def _lost(repo: Repo, head: str, names: set[str]) -> dict[str, _Lost]:
    queue = repo.experiments.celery_queue
    waiting = unfinished(repo)
    found = {}
    for name in names:
        entry, state = waiting.get((name, head), (None, None))
        if entry is None:
            found[name] = _Lost("DVC's queue lost it", LOST_SECONDS, lambda *_, **__: None)
        elif state == "failed" and (error := queue_workers.setup_error(queue, entry)):
            settle = partial(queue_workers.log_reason, entry=entry)
            found[name] = _Lost(f"DVC could not set it up: {error}", 0, settle)
    for taken in queue_workers.without_worker(queue):
        if taken.entry.name in names and taken.entry.baseline_rev == head:
            settle = partial(queue_workers.bury, lost=taken)
            found[taken.entry.name] = _Lost("its worker died", DEAD_SECONDS, settle)
    return found


def _settle(lost_one: _Lost, more: str = "") -> None:
    with Repo() as repo:
        lost_one.settle(repo.experiments.celery_queue, reason=lost_one.reason + more)


def _head() -> str:
    with Repo() as repo:
        return repo.scm.get_rev()


def _how(name: str, head: str) -> str:
    """Whether an experiment that was done elsewhere before was trained again."""
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        # Its results are there a moment before its worker has ended it.
        under_way = list(queue.iter_active())
        for entry in (*under_way, *(ended for ended, _ in queue.iter_success())):
            process = queue.proc.get(entry.stash_rev)
            if (entry.name, entry.baseline_rev) == (name, head) and process:
                trained = "Running stage 'train_" in Path(process.stdout).read_text()
                return ", trained again" if trained else ", from DVC's run cache"
    return ""


def _stop(names: set[str]) -> None:
    """Interrupts what runs of the study; its trainings go on from their checkpoints."""
    # Not to be interrupted itself: it ends by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("stopping; the same command goes on", flush=True)
    began = time.monotonic()
    told: set[psutil.Process] = set()
    with Repo() as repo:
        while not _stopped(repo.experiments.celery_queue, names, told, time.monotonic() - began):
            time.sleep(0.5)


def _stopped(
    queue: LocalCeleryQueue, names: set[str], told: set[psutil.Process], seconds: float
) -> bool:
    """Has what runs of the study and the workers end. → whether they have

    Args:
        told: the processes that know already.
        seconds: since they were told for the first time.
    """
    try:
        alive = queue_workers.alive(queue)
        ours = [each for each in queue_workers.taken(queue) if each.entry.name in names]
        orphans = queue_workers.without_worker(queue)
    except (DvcException, OSError, ValueError):  # read while a worker writes it
        return False
    queue_workers.stop(set(alive) - told)
    told |= set(alive)
    for each in ours:
        # What a worker has just taken has a process in a moment.
        queue_workers.interrupt(queue, each.entry, told)
        if each in orphans and seconds > DEAD_SECONDS:
            queue_workers.bury(queue, each, "stopped")
    tasks = {each.task for each in ours}
    ending = {worker for worker, task in alive.items() if task is None or task in tasks}
    if seconds > STOP_SECONDS:
        queue_workers.kill(ending)
    return not ours and not ending


def _baseline(wanted: list[Experiment], study: Study) -> str:
    settings = {f"{key}={value}" for key, value in study.baseline.items()}
    return next(each.name for each in wanted if settings <= set(each.overrides))


def read(name: str) -> Study:
    """A study by its name.

    Raises:
        InputError: there is no such file, or it is not a study.
    """
    path = STUDIES / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(found.stem for found in STUDIES.glob("*.yaml")))
        raise InputError("NAME", repr(name), f"one of {there}")
    try:
        return Study.model_validate(read_yaml(path))
    except ValidationError as error:
        reason = " ".join(str(error).split())
        raise InputError(path, reason, "a study: overrides, cells, baseline") from error


def experiments(
    name: str, study: Study, seeds: int = 1, also: Sequence[str] = ()
) -> list[Experiment]:
    """All of a study: every cell's product of choices, for each seed; `also`, overrides that all of
    them have besides. Cells that these make the same are one."""
    for setting in also:
        check_setting(setting)
    found = {}
    for seed, cell in itertools.product(range(study.seed, study.seed + seeds), study.cells):
        values = [choices if isinstance(choices, list) else [choices] for choices in cell.values()]
        for chosen in itertools.product(*values):
            settings = dict(zip(cell, chosen, strict=True)) | {"seed": seed}
            overrides = [f"{key}={value}" for key, value in settings.items()]
            named = settings | dict(setting.split("=", 1) for setting in also)
            found.setdefault(_named(name, named), [*overrides, *also])
    return [Experiment(name, overrides) for name, overrides in found.items()]


def _named(study: str, settings: dict[str, Choice]) -> str:
    """As in `mini-adam-step-norm-seed0`: groups by what was chosen, keys with their value. What git
    or DVC would refuse in a name is left out of it or cut off; a hash of the settings then tells
    the experiment from others."""
    parts = [
        study,
        *(
            str(value) if key in GROUPS else f"{key.rpartition('.')[2]}{value}"
            for key, value in settings.items()
        ),
    ]
    name = "-".join(
        re.sub(r"[^A-Za-z0-9.]+", "-", part.replace("+", "")).strip("-.") for part in parts
    )
    whole = all(re.fullmatch(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*", part) for part in parts)
    if whole and len(name) <= LONGEST_NAME and not name.endswith(".lock"):
        return name
    digest = hashlib.sha256(json.dumps([study, settings]).encode()).hexdigest()[:8]
    return f"{re.sub('[.]+', '.', name)[: LONGEST_NAME - 9].rstrip('-.')}-{digest}"


def _dvc(*arguments: str) -> str:
    """Runs a command of DVC's to its end. → what it said on stderr"""
    # Killed in the middle, it would leave the repository without its branch and local changes.
    with _uninterrupted(), tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            ["dvc", *arguments], stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
        )
        said.seek(0)
        text = said.read().strip()
    if done.returncode:
        sys.exit(text)
    return text


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts off Ctrl-C and SIGTERM to the end of the block."""
    signals = (signal.SIGINT, signal.SIGTERM)
    received: list[int] = []
    previous = [signal.signal(each, lambda number, _: received.append(number)) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, previous, strict=True):
            signal.signal(each, handler)
        if received:
            signal.raise_signal(received[0])


if __name__ == "__main__":
    run(main, own_arguments=True)
