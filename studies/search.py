"""What tuning may try: the space of each optimizer's settings, and quasi-random points in it.

A space is a file of conf/search/. The same points in the unit cube are tried for all optimizers, so
that none of them is luckier than another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError
from scipy.stats import qmc

from contract.errors import InputError, alternatives
from contract.layout import CONF
from contract.menu import OPTIMIZERS
from contract.params import Strict, explain
from contract.yaml_files import read_yaml
from report.tuning import Axis

SEARCH = CONF / "search"
LOG, LINEAR, ONE_MINUS_LOG = "log", "linear", "one_minus_log"
DIGITS = 4  # significant ones of a setting; of 1 - value on the scale `one_minus_log`

Space = Mapping[str, Axis]  # by `Setting.name`; the learning rate is the first


class _Axis(Strict):
    """An axis as conf/search/ has it."""

    low: float
    high: float
    scale: Literal["log", "linear", "one_minus_log"]


_SPACE = TypeAdapter(dict[str, _Axis])


def read_space(optimizer: str, folder: Path = SEARCH) -> Space:
    """Reads the space of an optimizer.

    Args:
        optimizer: its name in the menu.
        folder: the folder of the spaces.

    Raises:
        InputError: there is no such file, it is not a space, or the menu does not allow its values.
    """
    path = folder / f"{optimizer}.yaml"
    if not path.is_file():
        names = alternatives(sorted(file.stem for file in folder.glob("*.yaml")))
        problem = "is missing: there is no space in which this optimizer could be tuned"
        raise InputError(path, problem, f"write it, or tune {names}")
    values = read_yaml(path)
    try:
        axes = _SPACE.validate_python(values)
    except ValidationError as error:
        remedy = "each setting has low, high and scale, as in conf/search/adam.yaml"
        raise explain(error, values, path, remedy) from None
    ranges = {setting.name: setting.range for setting in OPTIMIZERS[optimizer].settings}
    for name, axis in axes.items():
        where = f"{path}, {name}"
        if name not in ranges:
            problem = f"{optimizer} has no such setting"
            raise InputError(where, problem, f"its settings are {', '.join(ranges)}")
        for key, value in (("low", axis.low), ("high", axis.high)):
            if not ranges[name].holds(value):
                raise InputError.mismatch(f"{where}.{key}", repr(value), ranges[name].words)
        if not axis.low < axis.high:
            raise InputError.mismatch(f"{where}.high", repr(axis.high), f"more than {axis.low}")
        if axis.scale == LOG and axis.low <= 0:
            raise InputError.mismatch(f"{where}.low", repr(axis.low), "a number above 0")
        if axis.scale == ONE_MINUS_LOG and axis.high >= 1:
            raise InputError.mismatch(f"{where}.high", repr(axis.high), "a number below 1")
    if next(iter(axes), None) != next(iter(ranges)):
        raise InputError(path, f"{next(iter(ranges))} is not the first setting", "put it first")
    return {name: Axis(axis.low, axis.high, axis.scale) for name, axis in axes.items()}


@cache
def dimension(folder: Path = SEARCH) -> int:
    """Returns how many settings the largest space has.

    Args:
        folder: the folder of the spaces.
    """
    return max(len(read_space(path.stem, folder)) for path in sorted(folder.glob("*.yaml")))


def points(count: int, dimensions: int, seed: int, repetition: int = 0) -> np.ndarray:
    """Returns the first points of a scrambled Sobol sequence (Owen 1998) in the unit cube.

    More points begin with the fewer ones. The same arguments give the same points on any machine.

    Args:
        count: how many.
        dimensions: of the cube.
        seed: the seed of the study.
        repetition: the number of the repetition of the tuning, which scrambles in its own way.

    Returns:
        Numbers from 0 to below 1, (count, dimensions).
    """
    generator = np.random.default_rng([seed, repetition])
    sequence = qmc.Sobol(dimensions, scramble=True, seed=generator)
    # Sobol sequences are balanced at powers of two, and SciPy warns about other numbers of points.
    return sequence.random_base2(math.ceil(math.log2(count)))[:count]


def settings_at(space: Space, point: Sequence[float]) -> dict[str, float]:
    """Returns the settings at a point.

    Args:
        space: the space.
        point: of the unit cube; its first coordinates are those of the space.

    Returns:
        The settings by `Setting.name`, within the space, with `DIGITS` digits.
    """
    return {
        name: _value(axis, float(part))
        for (name, axis), part in zip(space.items(), point, strict=False)
    }


def _value(axis: Axis, part: float) -> float:
    """Returns the value of a setting at a part, from 0 to 1, of its axis."""
    if axis.scale == ONE_MINUS_LOG:
        rest = _rounded(_between_logs(1 - axis.low, 1 - axis.high, part))
        value = round(1 - rest, 12)  # without the last bits of the difference
    elif axis.scale == LOG:
        value = _rounded(_between_logs(axis.low, axis.high, part))
    else:
        value = _rounded(axis.low + (axis.high - axis.low) * part)
    return min(max(value, axis.low), axis.high)


def _between_logs(start: float, end: float, part: float) -> float:
    return start * (end / start) ** part


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def overrides(optimizer: str, trainer: str, settings: Mapping[str, float]) -> list[str]:
    """Returns an optimizer's settings for a trainer, in Hydra's grammar.

    Args:
        optimizer: its name in the menu.
        trainer: `spleeter` or `svoice`.
        settings: by `Setting.name`.
    """
    keys = {setting.name: setting.key(trainer) for setting in OPTIMIZERS[optimizer].settings}
    return [f"optimizer.{trainer}.{keys[name]}={value}" for name, value in settings.items()]
