"""What a study is: a file of conf/study/, and the experiments that it stands for."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field, ValidationError

from contract.errors import InputError
from contract.layout import CONF
from contract.menu import GROUPS
from contract.params import Strict, Whole, explain
from contract.yaml_files import read_yaml
from studies.overrides import check_setting

STUDIES = CONF / "study"
LONGEST_NAME = 200  # bytes: Git derives longer file names from an experiment's name

Choice = str | int | float


class Study(Strict):
    """A file of conf/study/.

    Attributes:
        overrides: what all experiments have in common, in Hydra's grammar.
        cells: the choices of each cell by key; lists of them are crossed.
        baseline: the choices of the experiment that the report compares the others with.
        seed: of every cell's first run; its repetitions count on from there.
        targets: the stages to run; all if there are none.
    """

    overrides: list[str]
    cells: list[dict[str, Choice | list[Choice]]]
    baseline: dict[str, Choice]
    seed: Whole = 0
    targets: list[str] = Field(default_factory=list)


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
        InputError: there is no such file, or it is not a study.
    """
    path = STUDIES / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(path.stem for path in STUDIES.glob("*.yaml")))
        raise InputError("NAME", f"there is no study {name!r}", f"choose one of {names}")
    values = read_yaml(path)
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        remedy = "a study has overrides, cells and a baseline, as conf/study/mini.yaml"
        raise explain(error, values, path, remedy) from None


def experiments(
    name: str, study: Study, seeds: int = 1, settings: Sequence[str] = ()
) -> list[Experiment]:
    """Returns the experiments of a study: the product of each cell's choices, for each seed.

    Cells that `settings` make the same are one experiment.

    Args:
        name: the study's, with which the experiments' names begin.
        study: its definition.
        seeds: how often each cell is repeated.
        settings: `key=value`, more overrides of all experiments.

    Raises:
        InputError: a setting is not one value in Hydra's grammar.
    """
    for setting in settings:
        check_setting(setting)
    overrides_by_name: dict[str, list[str]] = {}
    for seed, cell in itertools.product(range(study.seed, study.seed + seeds), study.cells):
        values = [choices if isinstance(choices, list) else [choices] for choices in cell.values()]
        for chosen in itertools.product(*values):
            cell_settings = dict(zip(cell, chosen, strict=True)) | {"seed": seed}
            overrides = [*(f"{key}={value}" for key, value in cell_settings.items()), *settings]
            all_settings = cell_settings | dict(setting.split("=", 1) for setting in settings)
            overrides_by_name.setdefault(_experiment_name(name, all_settings), overrides)
    return [Experiment(name, overrides) for name, overrides in overrides_by_name.items()]


def baseline_name(experiments: Sequence[Experiment], study: Study) -> str:
    """Returns the name of the first experiment with the choices of the study's baseline.

    Args:
        experiments: of the study.
        study: its definition.
    """
    settings = {f"{key}={value}" for key, value in study.baseline.items()}
    return next(each.name for each in experiments if settings <= set(each.overrides))


def _experiment_name(study: str, settings: dict[str, Choice]) -> str:
    """Returns a name such as `mini-adam-step-norm-seed0`.

    Choices of the menu stand for themselves, other values after the last part of their key. What
    Git or DVC would refuse in a name is replaced or cut off; a hash of the settings then
    distinguishes the experiment from others.
    """
    parts = [study]
    for key, value in settings.items():
        parts.append(str(value) if key in GROUPS else f"{key.rpartition('.')[2]}{value}")
    name = "-".join(
        re.sub(r"[^A-Za-z0-9.]+", "-", part.replace("+", "")).strip("-.") for part in parts
    )
    accepted = all(re.fullmatch(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*", part) for part in parts)
    if accepted and len(name) <= LONGEST_NAME and not name.endswith(".lock"):
        return name
    digest = hashlib.sha256(json.dumps([study, settings]).encode()).hexdigest()[:8]
    return f"{re.sub('[.]+', '.', name)[: LONGEST_NAME - 9].rstrip('-.')}-{digest}"
