"""Statistics over repeated runs: means, differences from a baseline, time to a target.

The runs of a variant are its seeds or, where the tuning itself was repeated, its repetitions. Each
run counts as one independent draw from a normal distribution. Under that assumption the intervals
of Student's t hold their level at any number of runs from two; `tests/report/test_simulations.py`
measures it. All tests are two-sided.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

LEVEL = 0.95  # of an interval
ALPHA = 1 - LEVEL  # the most false positives, over all tests of a family together
VISIBLE = 0.2  # dB: the difference that a comparison should be able to see
POWER = 0.8  # how often it should see it
LIMIT = 4.0  # times the fastest: how far AlgoPerf looks
POINTS = 1000  # of a mean over a distribution
MANY = 2000  # runs from which Student's t is as good as normal


class Mean(NamedTuple):
    """A mean over runs, with its interval by Student's t."""

    value: float
    low: float  # NaN, like `high`, if there are fewer than two runs
    high: float
    n: int


class Difference(NamedTuple):
    """A mean of paired differences, with its interval and its test by Student's t."""

    value: float
    low: float  # NaN, like `high`, `deviation` and `p`, if there are fewer than two pairs
    high: float
    n: int
    deviation: float  # the standard deviation of the paired differences
    p: float  # how probable so large a difference is, or a larger one, where there is none
    corrected: float = np.nan  # `p` after Holm's correction; NaN before it

    @property
    def distinct(self) -> bool:
        """Whether the corrected test rejects that there is no difference."""
        return bool(self.corrected <= ALPHA)


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns means with their 95 % intervals by Student's t.

    Source: Student, "The probable error of a mean", Biometrika 6, 1908.

    Args:
        values: finite, `(…, runs)`, at least two runs.

    Returns:
        The means, the lower and the upper ends of the intervals, `(…)` each.
    """
    runs = values.shape[-1]
    means = values.mean(axis=-1)
    errors = values.std(axis=-1, ddof=1) / np.sqrt(runs)
    reach = stats.t.ppf(1 - ALPHA / 2, runs - 1) * errors
    return means, means - reach, means + reach


def p_values(differences: np.ndarray) -> np.ndarray:
    """Returns the p-values of Student's t-test that the mean of paired differences is 0.

    Where all differences are the same, the limit of the test is taken: 1 if they are 0, and 0
    otherwise.

    Args:
        differences: finite, `(…, runs)`, at least two runs.

    Returns:
        `(…)`, from 0 to 1.
    """
    runs = differences.shape[-1]
    means = differences.mean(axis=-1)
    errors = differences.std(axis=-1, ddof=1) / np.sqrt(runs)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(means == 0, 0.0, np.abs(means) / errors)
    return 2 * special.stdtr(runs - 1, -t)


def holm(p: np.ndarray) -> np.ndarray:
    """Returns p-values corrected for their number.

    Rejecting those of at most 0.05 makes one false rejection or more in at most 5 % of all studies,
    however the tests depend on each other. Source: Holm, "A simple sequentially rejective multiple
    test procedure", Scandinavian Journal of Statistics 6, 1979.

    Args:
        p: `(…, tests)`. NaN is no test, and stays NaN.

    Returns:
        `(…, tests)`.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1, kind="stable")  # NaN comes last
    tests = np.isfinite(p).sum(axis=-1, keepdims=True)
    remaining = tests - np.arange(p.shape[-1])
    ordered = np.take_along_axis(p, order, axis=-1) * remaining
    ordered = np.minimum(np.maximum.accumulate(ordered, axis=-1), 1.0)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, ordered, axis=-1)
    return corrected


def mean(values: Sequence[float] | np.ndarray) -> Mean:
    """Returns the mean of the finite values, with its 95 % interval by Student's t.

    Args:
        values: one per run, `(runs,)`.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if array.size < 2:
        return Mean(array[0] if array.size else np.nan, np.nan, np.nan, array.size)
    return Mean(*map(float, interval(array)), array.size)


def difference(values: Mapping[Hashable, float], baseline: Mapping[Hashable, float]) -> Difference:
    """Returns the mean difference from the baseline over the runs that both have.

    The differences are paired by seed (or repetition), so that what runs of one seed have in common
    (initial weights, order of the data) does not blur them. A pair with a value that is not finite
    is left out.

    Args:
        values: a variant's value of each seed.
        baseline: the baseline's value of each seed.
    """
    pairs = [values[seed] - baseline[seed] for seed in values if seed in baseline]
    array = np.asarray(pairs, dtype=np.float64)
    array = array[np.isfinite(array)]
    average = mean(array)
    if average.n < 2:
        return Difference(*average, np.nan, np.nan)
    return Difference(*average, float(array.std(ddof=1)), float(p_values(array)))


def corrected(differences: Mapping[Hashable, Difference]) -> dict[Hashable, Difference]:
    """Returns differences with Holm's correction over all of them that have a test.

    Args:
        differences: those that one looks through for any that is not 0, by what they are between.
    """
    p = holm(np.array([each.p for each in differences.values()]))
    return {
        key: each._replace(corrected=float(value))
        for (key, each), value in zip(differences.items(), p, strict=True)
    }


def pairwise(
    values: Mapping[Hashable, Mapping[Hashable, float]],
) -> dict[tuple[Hashable, Hashable], Difference]:
    """Returns the differences between every two variants, with Holm's correction over all pairs.

    The best of many variants is partly the luckiest. Only a correction over all pairs allows for
    that it was chosen by the same numbers that it is then compared by.

    Args:
        values: by variant, its value of each seed.

    Returns:
        By (variant, other variant), in both orders, the difference of the first from the second.
    """
    between = {
        (first, second): difference(values[first], values[second])
        for first, second in itertools.combinations(values, 2)
    }
    both = corrected(between)
    for (first, second), each in list(both.items()):
        mirrored = each._replace(value=-each.value, low=-each.high, high=-each.low)
        both[second, first] = mirrored
    return both


def runs_needed(deviation: float, tests: int = 1, visible: float = VISIBLE) -> int:
    """Returns how many pairs of runs a paired t-test needs to see a difference.

    It sees it if it rejects at 5 % divided by the number of tests, with a probability of 80 %. The
    test's statistic follows the noncentral t distribution with n − 1 degrees of freedom and the
    noncentrality √n · difference / deviation. Source: Chow, Shao, Wang, "Sample Size Calculations
    in Clinical Research", 2nd edition 2008, section 3.1.

    Args:
        deviation: the standard deviation of the paired differences, at least 0.
        tests: how many tests the correction is over. With Holm's, this is enough whichever place
            the difference takes among them.
        visible: the difference, in the unit of `deviation`, above 0.
    """
    if deviation == 0:
        return 2
    effect = visible / deviation
    level = ALPHA / tests
    normal = ((stats.norm.ppf(1 - level / 2) + stats.norm.ppf(POWER)) / effect) ** 2
    if normal > MANY:
        return int(np.ceil(normal))
    low, high = 1, 2
    while _power(effect, level, high) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(effect, level, middle) >= POWER else (middle, high)
    return high


def _power(effect: float, level: float, runs: int) -> float:
    """Returns how probable it is that a paired t-test rejects.

    The noncentral t is (Z + √n · effect) / s, with a normal Z and the deviation s of the sample
    relative to the true one, over whose quantiles this takes the mean. `scipy.stats.nct` is wrong
    far out at few degrees of freedom.

    Args:
        effect: the difference in standard deviations of the paired differences.
        level: of the test.
        runs: the number of pairs, at least two.
    """
    critical = stats.t.ppf(1 - level / 2, runs - 1)
    quantiles = (np.arange(POINTS) + 0.5) / POINTS
    deviations = np.sqrt(stats.chi2.ppf(quantiles, runs - 1) / (runs - 1))
    shift = np.sqrt(runs) * effect
    rejected = special.ndtr(shift - critical * deviations)
    return float((rejected + special.ndtr(-shift - critical * deviations)).mean())


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
    return (_ratios(times)[:, :, None] <= np.asarray(factors)).mean(axis=1)


def profile_score(
    times: np.ndarray | Sequence[Sequence[float]], limit: float = LIMIT
) -> np.ndarray:
    """Returns AlgoPerf's score: the integral of the performance profile from 1 to a limit, divided
    by the length of that range.

    A workload that a variant reaches in r times the time of the fastest adds to the profile from r
    on, and so (limit − r) / (limit − 1) to the integral. That is exact; AlgoPerf's own code takes
    the profile at 100 points. Source: Dahl et al., "Benchmarking Neural Network Training
    Algorithms", arXiv 2306.07179, on performance profiles.

    Args:
        times: `(variants, workloads)`, infinite or NaN where a variant did not reach the target. A
            workload whose target no variant reached counts as missed by all.
        limit: the largest multiple of the fastest variant's time, above 1.

    Returns:
        `(variants,)`, from 0 to 1.
    """
    times = np.asarray(times, dtype=np.float64)
    times = np.where(np.isfinite(times), times, np.inf)
    ratios = _ratios(times)
    return np.clip((limit - ratios) / (limit - 1), 0, None).mean(axis=1)


def _ratios(times: np.ndarray) -> np.ndarray:
    """Returns times as multiples of the fastest variant's, infinite where a target was missed.

    Args:
        times: `(variants, targets)`, infinite where a variant never reached a target.
    """
    fastest = times.min(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(times), times / fastest, np.inf)
