"""Learning-rate schedules: the rate of each optimizer step, for both trainers.

The rate of step k, counted from 0, is base × warm-up × factor. The warm-up rises linearly to 1 over
its steps. The factor is a pure function of k, except that of `plateau`, which depends on the
validation losses so far: `Plateau` keeps what it needs to know of them.

An epoch is the steps between two validations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Length:
    """How long a run is, in optimizer steps: one epoch of it, and all of it."""

    epoch: int
    total: int


def learning_rate(
    base: float, schedule: Mapping[str, Any], step: int, length: Length, plateau: float = 1.0
) -> float:
    """The learning rate of one step.

    Args:
        base: the optimizer's own learning rate.
        schedule: the settings of a file in conf/schedule, with its `name` and `warmup_steps`.
        step: how many steps were taken before this one.
        length: of the run.
        plateau: `Plateau.scale`, where the schedule is `plateau`.
    """
    warmup_steps = schedule["warmup_steps"]
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if schedule["name"] == "plateau":
        return base * warmup * plateau
    return base * warmup * FACTORS[schedule["name"]](schedule, step, length)


def _constant(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    return 1.0


def _step(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    """× `factor` after every `epochs` epochs."""
    return schedule["factor"] ** (step // length.epoch // schedule["epochs"])


def _exponential(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    """× `factor` over each epoch, a little at every step."""
    return schedule["factor"] ** (step / length.epoch)


def _cosine(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    """Half a cosine over the run (Loshchilov and Hutter 2017, equation 5, with one period)."""
    floor = schedule["floor"]
    return floor + (1 - floor) * (1 + math.cos(math.pi * step / length.total)) / 2


FACTORS: dict[str, Callable[[Mapping[str, Any], int, Length], float]] = {
    "constant": _constant,
    "step": _step,
    "exponential": _exponential,
    "cosine": _cosine,
}


class Plateau:
    """Reduces the rate when the validation loss stops falling, as PyTorch's ReduceLROnPlateau does
    in mode `min` with a relative threshold and no cooldown.

    An improvement is a loss below the best so far × (1 − 1e-4). When more than `patience`
    validations in a row bring none, the rate is multiplied by `factor`, unless that would reduce it
    by 1e-8 or less.

    Attributes:
        scale: what the validations so far have made of the rate, from 1 down.
    """

    THRESHOLD = 1e-4
    SMALLEST_REDUCTION = 1e-8

    def __init__(self, base: float, patience: int, factor: float):
        """
        Args:
            base: the optimizer's own learning rate.
            patience: how many validations without an improvement change nothing.
            factor: what the rate is multiplied by.
        """
        self._base, self._patience, self._factor = base, patience, factor
        self.scale = 1.0
        self._best = math.inf
        self._without_improvement = 0

    @classmethod
    def of(cls, base: float, schedule: Mapping[str, Any]) -> Plateau | None:
        """The state that a schedule needs: None unless it is `plateau`."""
        if schedule["name"] != "plateau":
            return None
        return cls(base, schedule["patience"], schedule["factor"])

    def state(self) -> tuple[float, float, int]:
        """What a checkpoint needs to keep."""
        return self.scale, self._best, self._without_improvement

    def restore(self, state: tuple[float, float, int]) -> None:
        """Goes back to an earlier `state`."""
        self.scale, self._best, self._without_improvement = state

    def validated(self, loss: float) -> None:
        """Takes the loss of one validation into account."""
        if loss < self._best * (1 - self.THRESHOLD):
            self._best = loss
            self._without_improvement = 0
        else:
            self._without_improvement += 1
        if self._without_improvement > self._patience:
            self._without_improvement = 0
            scale = self.scale * self._factor
            if self._base * (self.scale - scale) > self.SMALLEST_REDUCTION:
                self.scale = scale
