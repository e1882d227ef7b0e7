"""`make study NAME=mini`: queues a study's experiments with DVC and runs them.

A study is a file in conf/study/: what all its experiments have in common (`overrides`), the choices
that they cross (`cells`), the stages to run if not all (`targets`), and the cell that the report
compares the others with (`baseline`). Every cell is repeated for each seed. Experiments are named
after the study, their choices and their seed; one that is done is not run again.
"""

import argparse
import itertools
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml
from dvc.repo import Repo
from pydantic import Field

from metrics.errors import InputError
from stages.params import Strict
from stages.run import run

STUDIES = Path("conf/study")

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of a file in conf/study/")
    parser.add_argument("--seeds", type=int, default=1, help="how often each cell is run")
    parser.add_argument("--jobs", type=int, default=1, help="how many experiments at a time")
    parser.add_argument("-S", action="append", default=[], dest="also", metavar="KEY=VALUE")
    options = parser.parse_args()
    study = read(options.name)
    wanted = experiments(options.name, study, options.seeds)
    done = set(_dvc("exp", "list", "--name-only").split())
    missing = [experiment for experiment in wanted if experiment.name not in done]
    print(f"{options.name}: {len(wanted) - len(missing)} of {len(wanted)} experiments are done")
    if not missing:
        return
    _forget({experiment.name for experiment in missing})
    for experiment in missing:
        settings = [*study.overrides, *experiment.overrides, *options.also]
        flags = [part for setting in settings for part in ("-S", setting)]
        _dvc("exp", "run", "--queue", "--name", experiment.name, *flags, *study.targets)
        print(f"queued {experiment.name}", flush=True)
    command = ["dvc", "exp", "run", "--run-all", "--jobs", str(options.jobs)]
    sys.exit(subprocess.run(command).returncode)


def _forget(names: set[str]) -> None:
    """Takes those experiments out of the queue that an earlier start left there, waiting, failed or
    broken off: they are queued anew. Others' stay."""
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        left = {entry.name for entry in queue.iter_queued()}
        left |= {entry.name for entry, _ in queue.iter_failed()}
    for name in sorted(left & names):
        _dvc("queue", "remove", name)


def read(name: str) -> Study:
    """A study by its name.

    Raises:
        InputError: there is no such file, or it is not a study.
    """
    path = STUDIES / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(found.stem for found in STUDIES.glob("*.yaml")))
        raise InputError("NAME", repr(name), f"one of {there}")
    return Study.model_validate(yaml.safe_load(path.read_text()))


def experiments(name: str, study: Study, seeds: int) -> list[Experiment]:
    """All of a study: every cell's product of choices, for each seed from 0."""
    found = []
    for seed, cell in itertools.product(range(seeds), study.cells):
        values = [choices if isinstance(choices, list) else [choices] for choices in cell.values()]
        for chosen in itertools.product(*values):
            settings = dict(zip(cell, chosen, strict=True)) | {"seed": seed}
            overrides = [f"{key}={value}" for key, value in settings.items()]
            found.append(Experiment(_named(name, settings), overrides))
    return found


def _named(study: str, settings: dict[str, Choice]) -> str:
    """As in `mini-adam-step-norm-seed0`; choices by their value alone, numbers with their key."""
    parts = [
        value if isinstance(value, str) else f"{key.rpartition('.')[2]}{value}"
        for key, value in settings.items()
    ]
    return "-".join([study.replace("_", "-"), *parts])


def _dvc(*arguments: str) -> str:
    done = subprocess.run(["dvc", *arguments], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1].removeprefix("ERROR: ")
        raise InputError(f"dvc {arguments[0]} {arguments[1]}", f"an error: {said}", "none")
    return done.stdout


if __name__ == "__main__":
    run(main)
