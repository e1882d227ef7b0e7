"""What repeated runs say, and how surely: means over seeds, differences to a baseline, time to a
target.

An interval over few seeds is a sketch, no more: the bootstrap knows no values but those that it was
given, so that of three seeds a 95 % interval covers the true mean about three times in four, of ten
nine times in ten. That is why the number of seeds always stands beside it.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

LEVEL = 0.95
RESAMPLES = 9999


class Mean(NamedTuple):
    """A mean over runs with the interval of its percentile bootstrap."""

    value: float
    low: float  # NaN, as `high`, for fewer than two runs
    high: float
    n: int


def mean(values) -> Mean:
    """The mean of the finite ones among `values` `(runs,)`, with its 95 % interval (Efron,
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). The same values give the same
    interval.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Mean(np.nan, np.nan, np.nan, 0)
    value = float(values.mean())
    if values.size == 1:
        return Mean(value, np.nan, np.nan, 1)
    found = bootstrap(
        (values,),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        method="percentile",
        vectorized=True,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Mean(value, float(found.low), float(found.high), values.size)


def difference(values: dict, baseline: dict) -> Mean:
    """The mean difference to the baseline over the seeds that both have, each seed with itself:
    what the seeds have in common (initial weights, order of the data) does not blur it.

    values, baseline: value by seed.
    """
    seeds = [seed for seed in values if seed in baseline]
    return mean([values[seed] - baseline[seed] for seed in seeds])


def time_to_target(times, losses, target: float) -> float:
    """The first of `times` at which `losses`, both `(points,)`, had come down to `target` or below;
    infinite if they never did (Dahl et al., "Benchmarking Neural Network Training Algorithms",
    arXiv 2306.07179)."""
    reached = np.flatnonzero(np.asarray(losses, dtype=np.float64) <= target)
    return float(np.asarray(times, dtype=np.float64)[reached[0]]) if reached.size else np.inf


def performance_profile(times: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Of each variant the share of targets that it reached within a factor of the time of the
    fastest (Dolan, Moré, "Benchmarking optimization software with performance profiles",
    Mathematical Programming 91, 2002).

    times: `(variants, targets)`, infinite where a target was never reached. Targets that no variant
        reached count as missed by all.
    factors: `(factors,)`, from 1.

    Returns `(variants, factors)`, from 0 to 1.
    """
    times = np.asarray(times, dtype=np.float64)
    fastest = times.min(axis=0)
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(times), times / fastest, np.inf)
    return (ratios[:, :, None] <= np.asarray(factors)).mean(axis=1)
