"""Statistics over repeated runs: means over seeds, differences from a baseline, time to a target.

An interval over few seeds is only a rough indication, because the bootstrap resamples the values
that there are: a 95 % interval of three seeds covers the true mean about three times in four, one
of ten seeds nine times in ten. That is why the number of seeds always stands beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

LEVEL = 0.95
RESAMPLES = 9999


class Mean(NamedTuple):
    """A mean over runs, with the interval of its percentile bootstrap."""

    value: float
    low: float  # NaN, like `high`, if there are fewer than two runs
    high: float
    n: int


def mean(values: Sequence[float] | np.ndarray) -> Mean:
    """Returns the mean of the finite values, with its 95 % interval.

    The same values always give the same interval. Source: Efron, Tibshirani, "An Introduction to
    the Bootstrap", 1993, chapter 13.

    Args:
        values: one per run, `(runs,)`.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if array.size == 0:
        return Mean(np.nan, np.nan, np.nan, 0)
    value = float(array.mean())
    if array.size == 1:
        return Mean(value, np.nan, np.nan, 1)
    interval = bootstrap(
        (array,),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        method="percentile",
        vectorized=True,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Mean(value, float(interval.low), float(interval.high), array.size)


def difference(values: Mapping[Hashable, float], baseline: Mapping[Hashable, float]) -> Mean:
    """Returns the mean difference from the baseline over the seeds that both have.

    The differences are paired by seed, so that what runs of one seed have in common (initial
    weights, order of the data) does not blur them.

    Args:
        values: a variant's value of each seed.
        baseline: the baseline's value of each seed.
    """
    seeds = [seed for seed in values if seed in baseline]
    return mean([values[seed] - baseline[seed] for seed in seeds])


def time_to_target(
    times: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray, target: float
) -> float:
    """Returns the first time at which a loss reached a target, infinite if it never did.

    Source: Dahl et al., "Benchmarking Neural Network Training Algorithms", arXiv 2306.07179.

    Args:
        times: when each loss was measured, `(points,)`.
        losses: `(points,)`.
        target: what a loss must be at most.
    """
    reached = np.flatnonzero(np.asarray(losses, dtype=np.float64) <= target)
    return float(np.asarray(times, dtype=np.float64)[reached[0]]) if reached.size else np.inf


def performance_profile(
    times: np.ndarray | Sequence[Sequence[float]], factors: np.ndarray | Sequence[float]
) -> np.ndarray:
    """Returns the share of targets that each variant reached within multiples of the best time.

    Source: Dolan, Moré, "Benchmarking optimization software with performance profiles",
    Mathematical Programming 91, 2002.

    Args:
        times: `(variants, targets)`, infinite where a variant never reached a target. A target that
            no variant reached counts as missed by all.
        factors: the multiples of the fastest variant's time, `(factors,)`, from 1.

    Returns:
        `(variants, factors)`, from 0 to 1.
    """
    times = np.asarray(times, dtype=np.float64)
    fastest = times.min(axis=0)
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(times), times / fastest, np.inf)
    return (ratios[:, :, None] <= np.asarray(factors)).mean(axis=1)
