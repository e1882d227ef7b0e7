"""`make study NAME=mini`: runs a study's experiments with DVC's queue, and writes their report.

A study is a file in conf/study/: what all its experiments have in common (`overrides`), the choices
that they cross (`cells`), the stages to run if not all (`targets`), and the cell that the report
compares the others with (`baseline`). Every cell is repeated for each seed. Experiments are named
after the study, their choices and their seed. One that is done at the present commit is not run
again; Ctrl-C stops them, and the same command goes on.
"""

import argparse
import hashlib
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dvc.repo import Repo
from pydantic import Field, ValidationError

from metrics.arguments import Parser
from metrics.errors import InputError
from metrics.report.files import write_comparison
from metrics.revisions import states
from metrics.yaml_files import read_yaml
from stages.params import Strict
from stages.run import run

STUDIES = Path("conf/study")
GROUPS = ("optimizer", "schedule", "clipping")
REPORTS = Path("reports")
POLL_SECONDS = 2
LONGEST_NAME = 200  # of an experiment: git has files of that name and more
LOST_SECONDS = 60  # an experiment that is nowhere for so long will not come back
STOP_SECONDS = 60  # that stopping may take

Choice = str | int | float


class Study(Strict):
    """A file of conf/study/."""

    overrides: list[str]
    cells: list[dict[str, Choice | list[Choice]]]
    baseline: dict[str, Choice]
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
    options = parser.parse_args()
    study = read(options.name)
    wanted = experiments(options.name, study, options.seeds, options.set)
    names = [experiment.name for experiment in wanted]
    _bury(set(names))
    found = states(Path())
    under_way = [name for name in names if found.get(name) in ("done", "running")]
    print(f"{options.name}: {len(names)} experiments, {len(under_way)} of them done or running")
    _queue([each for each in wanted if each.name not in under_way], study, set(found))
    try:
        found = _follow(names, options.jobs)
    except KeyboardInterrupt:
        _stop(set(names))
        raise
    write_comparison(names, _baseline(wanted, study), REPORTS / f"{options.name}.html")
    failed = [name for name in names if found[name] == "failed"]
    for name in failed:
        print(f"failed: {name} (see: dvc queue logs {name})", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 or more")
    return int(text)


def _bury(names: set[str]) -> None:
    """Experiments that a worker left `running` when it was killed have failed."""
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        dead = names & {entry.name for entry in queue.iter_active()}
        if dead and not queue.worker_status():
            queue.kill(dead)


def _queue(wanted: list[Experiment], study: Study, known: set[str]) -> None:
    """Queues all of them or, where one is refused, none."""
    queued = []
    try:
        for experiment in wanted:
            if experiment.name in known:  # waiting as it was set then, or failed
                _dvc("queue", "remove", experiment.name)
            settings = [*study.overrides, *experiment.overrides]
            flags = [part for setting in settings for part in ("-S", setting)]
            _dvc("exp", "run", "--queue", "--name", experiment.name, *flags, *study.targets)
            queued.append(experiment.name)
            print(f"queued   {experiment.name}", flush=True)
    except BaseException:
        if queued:
            _dvc("queue", "remove", *queued)
        raise


def _follow(names: list[str], jobs: int) -> dict[str, str]:
    """Has workers run what is queued, and tells what becomes of it. → the states in the end"""
    told, seen = {}, time.monotonic()
    while True:
        found = states(Path())
        for name in names:
            state = found.get(name)
            if state in ("running", "done", "failed") and told.get(name) != state:
                ended = sum(found.get(each) in ("done", "failed") for each in names)
                count = "" if state == "running" else f" ({ended} of {len(names)})"
                print(f"{state:8} {name}{count}", flush=True)
                told[name] = state
        if all(found.get(name) in ("done", "failed") for name in names):
            return found
        lost = [name for name in names if name not in found]
        # Between the queue and its worker an experiment is in neither for a moment.
        seen = time.monotonic() if not lost else seen
        if time.monotonic() - seen > LOST_SECONDS:
            raise InputError(lost[0], "neither queued nor running", "as it was queued before")
        running = sum(found.get(name) == "running" for name in names)
        if running < jobs and "queued" in [found.get(name) for name in names]:
            _dvc("queue", "start", "--jobs", str(jobs))
        time.sleep(POLL_SECONDS)


def _stop(names: set[str]) -> None:
    """Interrupts what runs of the study; its trainings go on from their checkpoints."""
    print("stopping; the same command goes on", flush=True)
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        queue.shutdown()
        running = names & {entry.name for entry in queue.iter_active()}
        if running:
            queue.kill(running)
    until = time.monotonic() + STOP_SECONDS
    while time.monotonic() < until and any(states(Path()).get(name) == "running" for name in names):
        time.sleep(1)


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
    """All of a study: every cell's product of choices, for each seed from 0; `also`, overrides that
    all of them have besides."""
    for setting in also:
        if "=" not in setting:
            raise InputError("-S", repr(setting), "KEY=VALUE")
    found = []
    for seed, cell in itertools.product(range(seeds), study.cells):
        values = [choices if isinstance(choices, list) else [choices] for choices in cell.values()]
        for chosen in itertools.product(*values):
            settings = dict(zip(cell, chosen, strict=True)) | {"seed": seed}
            overrides = [f"{key}={value}" for key, value in settings.items()]
            named = settings | dict(setting.split("=", 1) for setting in also)
            found.append(Experiment(_named(name, named), [*overrides, *also]))
    return found


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


def _dvc(*arguments: str) -> None:
    # A file, not a pipe: the workers that `dvc queue start` leaves behind would hold it open.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(["dvc", *arguments], stdout=subprocess.DEVNULL, stderr=said)
        if done.returncode:
            said.seek(0)
            sys.exit(said.read().strip())


if __name__ == "__main__":
    run(main, own_arguments=True)
