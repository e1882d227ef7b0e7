"""Learning-rate schedules: the rate of each optimizer step, for both trainers.

The rate of step k, counted from 0, is base × warm-up × factor. The warm-up rises linearly to 1 over
its steps. The factor is a pure function of k, in `FACTORS`. Only that of the schedule `plateau`
depends on the validation losses so far, of which `Plateau` keeps the state.

An epoch is the steps between two validations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Length:
    """The length of a run.

    Attributes:
        epoch: optimizer steps of an epoch.
        total: optimizer steps of the run.
    """

    epoch: int
    total: int


def _constant(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    return 1.0


def _step(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    """The rate is multiplied by `factor` after every `epochs` epochs."""
    return schedule["factor"] ** (step // length.epoch // schedule["epochs"])


def _exponential(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    """The rate is multiplied by `factor` over each epoch, a little at every step."""
    return schedule["factor"] ** (step / length.epoch)


def _cosine(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    """Half a cosine over the run (Loshchilov and Hutter 2017, equation 5, with one period)."""
    floor = schedule["floor"]
    return floor + (1 - floor) * (1 + math.cos(math.pi * step / length.total)) / 2


def _linear(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    """A line over the run."""
    floor = schedule["floor"]
    return floor + (1 - floor) * (1 - step / length.total)


def _wsd(schedule: Mapping[str, Any], step: int, length: Length) -> float:
    """Warm-up, stable, decay (Hu et al. 2024): 1, then a line to 0 over the last `decay`."""
    return min(1.0, (length.total - step) / (schedule["decay"] * length.total))


FACTORS: dict[str, Callable[[Mapping[str, Any], int, Length], float]] = {
    "constant": _constant,
    "step": _step,
    "exponential": _exponential,
    "cosine": _cosine,
    "linear": _linear,
    "wsd": _wsd,
}


class Plateau:
    """Reduces the learning rate when the validation loss stops falling.

    It does what PyTorch's ReduceLROnPlateau does in mode `min` with a relative threshold and no
    cooldown. An improvement is a loss below the best so far × (1 − 1e-4). When more than `patience`
    validations in a row bring none, the rate is multiplied by `factor`, unless that would reduce it
    by 1e-8 or less.

    Args:
        base: the learning rate in the optimizer's settings.
        patience: the number of validations in a row without an improvement that change nothing.
        factor: what the rate is multiplied by.

    Attributes:
        scale: the factor of the rate after the validations so far; 1 at the beginning.
    """

    THRESHOLD = 1e-4
    SMALLEST_REDUCTION = 1e-8

    def __init__(self, base: float, patience: int, factor: float) -> None:
        self._base, self._patience, self._factor = base, patience, factor
        self.scale = 1.0
        self._best = math.inf
        self._without_improvement = 0

    def state(self) -> tuple[float, float, int]:
        """Returns what a checkpoint has to keep."""
        return self.scale, self._best, self._without_improvement

    def restore(self, state: tuple[float, float, int]) -> None:
        """Continues from an earlier state.

        Args:
            state: what `state` returned then.
        """
        self.scale, self._best, self._without_improvement = state

    def validated(self, loss: float) -> None:
        """Takes the next validation into account.

        Args:
            loss: the validation loss.
        """
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


class Schedule:
    """The learning rates of a run.

    Args:
        base: the learning rate in the optimizer's settings.
        settings: those of a file in conf/schedule, with its `name` and `warmup_steps`.
        length: the length of the run.
    """

    def __init__(self, base: float, settings: Mapping[str, Any], length: Length) -> None:
        self._base, self._settings, self._length = base, settings, length
        self._plateau: Plateau | None = None
        if settings["name"] == "plateau":
            self._plateau = Plateau(base, settings["patience"], settings["factor"])

    def rate(self, step: int) -> float:
        """Returns the learning rate of one step.

        Args:
            step: the number of steps before this one.
        """
        warmup_steps = self._settings["warmup_steps"]
        warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
        if self._plateau:
            factor = self._plateau.scale
        else:
            factor = FACTORS[self._settings["name"]](self._settings, step, self._length)
        return self._base * warmup * factor

    def validated(self, loss: float) -> None:
        """Takes the next validation into account.

        Args:
            loss: the validation loss.
        """
        if self._plateau:
            self._plateau.validated(loss)

    def state(self) -> tuple[float, float, int] | None:
        """Returns what a checkpoint has to keep: that of `Plateau`, and None without one."""
        return self._plateau.state() if self._plateau else None

    def restore(self, state: tuple[float, float, int] | None) -> None:
        """Continues from an earlier state.

        Args:
            state: what `state` returned then.
        """
        if self._plateau and state:
            self._plateau.restore(state)
