"""How the settings of a tuned study were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd


class Axis(NamedTuple):
    """The values that a setting may be tuned to.

    Attributes:
        low: the lowest.
        high: the highest.
        scale: `log`, `linear` or `one_minus_log`.
    """

    low: float
    high: float
    scale: str


@dataclass(frozen=True)
class Tuning:
    """What was tried, and what was chosen.

    Attributes:
        spaces: the axis of each setting, by the variant and the setting's name in the menu.
        trials: one row per model × variant × repetition × trial: `model, variant, repetition,
            trial, experiment, status, score, best_valid_loss, chosen`, and a column for each
            searched setting.
        finals: the experiments with what was chosen: `experiment, variant, repetition, seed`.
        trials_each: how many trials each variant had in a repetition.
        repetitions: how often the tuning was repeated, with other points.
        seeds: with how many seeds what was chosen was run.
    """

    spaces: Mapping[str, Mapping[str, Axis]]
    trials: pd.DataFrame
    finals: pd.DataFrame
    trials_each: int
    repetitions: int
    seeds: int
