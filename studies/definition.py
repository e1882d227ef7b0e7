"""What a study is: a file of conf/study/, and the experiments that it stands for."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError

from contract.errors import InputError
from contract.layout import CONF
from contract.menu import GROUPS
from contract.params import Count, Strict, Whole, explain
from contract.yaml_files import read_yaml
from studies.overrides import Value, check_setting, plain_text, setting

STUDIES = CONF / "study"
LONGEST_NAME = 200  # bytes: Git derives longer file names from an experiment's name

Values = Annotated[list[Value], Field(min_length=1)]


class TuningRules(Strict):
    """How the settings of each cell's optimizer are tuned (`studies.tuning`).

    Attributes:
        trials: how many points of the optimizer's space are tried.
        seeds: with how many seeds the best point is run, unless the command line says it.
        repetitions: how often the tuning is repeated with other points.
        select: by what the best trial is chosen.
    """

    trials: Count
    seeds: Count
    repetitions: Count = 1
    select: Literal["best_valid_loss"]


class Study(Strict):
    """A file of conf/study/.

    Attributes:
        overrides: what all experiments have in common, in Hydra's grammar.
        cells: the values of each cell by key; lists of them are crossed.
        baseline: the values of the experiment that the report compares the others with.
        seed: the seed of every cell's first run; its repetitions count on from there.
        targets: the stages to run; all if there are none.
        tuning: how each cell's optimizer is tuned; not at all if None.
    """

    overrides: list[str]
    cells: list[dict[str, Value | Values]] = Field(min_length=1)
    baseline: dict[str, Value]
    seed: Whole = 0
    targets: list[str] = Field(default_factory=list)
    tuning: TuningRules | None = None


class Experiment(NamedTuple):
    """An experiment of a study.

    Attributes:
        name: unique within the study.
        overrides: what it does not have in common with the others, in Hydra's grammar.
    """

    name: str
    overrides: list[str]


def read_study(name: str) -> Study:
    """Reads a study by its name.

    Raises:
        InputError: there is no such file, it is not a study, or Hydra cannot read one of its
            settings.
    """
    path = _path(name)
    if not path.is_file():
        names = ", ".join(sorted(path.stem for path in STUDIES.glob("*.yaml")))
        raise InputError("NAME", f"there is no study {name!r}", f"choose one of {names}")
    values = read_yaml(path)
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        remedy = "a study has overrides, cells and a baseline, as conf/study/mini.yaml"
        raise explain(error, values, path, remedy) from None
    for number, override in enumerate(study.overrides):
        check_setting(override, f"{path}, overrides.{number}")
    for number, cell in enumerate(study.cells):
        for key, values_of_key in _crossed(cell).items():
            for value in values_of_key:
                setting(key, value, f"{path}, cells.{number}")
    for key, value in study.baseline.items():
        setting(key, value, f"{path}, baseline")
    return study


def _path(name: str) -> Path:
    return STUDIES / f"{name}.yaml"


def _crossed(cell: Mapping[str, Value | list[Value]]) -> dict[str, list[Value]]:
    """Returns the values of each key of a cell, also if there is only one."""
    return {key: value if isinstance(value, list) else [value] for key, value in cell.items()}


def cells(study: Study) -> list[dict[str, Value]]:
    """Returns the values of each cell of a study by key; lists are crossed."""
    return [
        dict(zip(cell, values, strict=True))
        for cell in study.cells
        for values in itertools.product(*_crossed(cell).values())
    ]


def experiments(
    name: str, study: Study, seeds: int = 1, settings: Sequence[str] = ()
) -> list[Experiment]:
    """Returns the experiments of a study: the product of each cell's values, for each seed.

    Cells that `settings` make the same are one experiment.

    Args:
        name: the name of the study, with which the names of the experiments begin.
        study: its definition.
        seeds: how often each cell is repeated.
        settings: `key=value`, more overrides of all experiments.

    Raises:
        InputError: a setting is not one value in Hydra's grammar.
    """
    for text in settings:
        check_setting(text)
    overrides_by_name: dict[str, list[str]] = {}
    for seed, cell in itertools.product(range(study.seed, study.seed + seeds), cells(study)):
        values = cell | {"seed": seed}
        overrides = [*cell_overrides(name, values), *settings]
        all_values = values | values_of(settings)
        overrides_by_name.setdefault(experiment_name(name, all_values), overrides)
    return [Experiment(name, overrides) for name, overrides in overrides_by_name.items()]


def values_of(settings: Sequence[str]) -> dict[str, Value]:
    """Returns the text of each setting, `key=value`, by its key."""
    return dict(text.split("=", 1) for text in settings)


def baseline_name(
    name: str, study: Study, experiments: Sequence[Experiment], settings: Sequence[str] = ()
) -> str:
    """Returns the name of the first experiment with the values of the study's baseline.

    Args:
        name: the name of the study.
        study: its definition.
        experiments: its experiments.
        settings: `key=value`, more overrides of all experiments. The baseline has them, too.

    Raises:
        InputError: no experiment has these values.
    """
    common_keys = {text.partition("=")[0] for text in settings}
    overrides = cell_overrides(name, study.baseline)
    distinctive = {text for text in overrides if text.partition("=")[0] not in common_keys}
    for experiment in experiments:
        if distinctive <= set(experiment.overrides):
            return experiment.name
    problem = f"none of the experiments has {', '.join(sorted(distinctive))}"
    raise InputError(f"{_path(name)}, baseline", problem, "name the values of a cell")


def cell_overrides(name: str, values: Mapping[str, Value]) -> list[str]:
    """Returns the values of an experiment in Hydra's grammar.

    Args:
        name: the name of its study.
        values: by key.
    """
    return [setting(key, value, str(_path(name))) for key, value in values.items()]


def experiment_name(study: str, values: Mapping[str, Value]) -> str:
    """Returns a name such as `mini-adam-step-norm-seed0`.

    Choices of the menu stand for themselves, other values after the last part of their key. What
    Git or DVC would refuse in a name is replaced or cut off; a hash of the settings then
    distinguishes the experiment from others.

    Args:
        study: the name of the study.
        values: what distinguishes the experiment from others of the study, by key.
    """
    parts = [study]
    for key, value in values.items():
        text = plain_text(value)
        parts.append(text if key in GROUPS else f"{key.rpartition('.')[2]}{text}")
    name = "-".join(
        re.sub(r"[^A-Za-z0-9.]+", "-", part.replace("+", "")).strip("-.") for part in parts
    )
    accepted = all(re.fullmatch(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*", part) for part in parts)
    if accepted and len(name) <= LONGEST_NAME and not name.endswith(".lock"):
        return name
    digest = hashlib.sha256(json.dumps([study, dict(values)]).encode()).hexdigest()[:8]
    return f"{re.sub('[.]+', '.', name)[: LONGEST_NAME - 9].rstrip('-.')}-{digest}"
