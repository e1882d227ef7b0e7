"""Statistics, on data whose answers are known."""

import numpy as np
import pytest

from report.statistics import difference, mean, performance_profile, time_to_target


def coverage(n, runs=400):
    """The share of intervals of n normal values that hold the true mean."""
    generator = np.random.default_rng(1)
    intervals = [mean(generator.normal(5, 2, n)) for _ in range(runs)]
    return np.mean([interval.low <= 5 <= interval.high for interval in intervals])


def test_with_many_seeds_intervals_cover_the_mean_at_their_level():
    assert coverage(40) == pytest.approx(0.94, abs=0.03)


def test_with_few_seeds_intervals_cover_the_mean_less_often():
    """As often as the documentation says."""
    assert coverage(3) == pytest.approx(0.75, abs=0.06)
    assert coverage(10) == pytest.approx(0.90, abs=0.04)


def test_the_mean_of_few_values():
    assert mean([1, 2, 6])[:1] == (3,)
    assert mean([1, 2, 6]).n == 3
    assert mean([1, 2, 6]) == mean([1, 2, 6])
    single = mean([4, np.nan, np.inf])
    assert (single.value, single.n) == (4, 1)
    assert np.isnan([single.low, single.high]).all()
    assert mean([]).n == 0
    same = mean([2, 2, 2])
    assert (same.value, same.low, same.high) == (2, 2, 2)


def test_differences_are_paired_by_seed():
    """The seeds differ by tens, the variants by one."""
    baseline = {seed: 10.0 * seed for seed in range(6)}
    values = {seed: value - 1 for seed, value in baseline.items()} | {99: 0.0}
    assert difference(values, baseline) == (-1, -1, -1, 6)
    assert difference(values, {}).n == 0


def test_the_time_to_a_target_is_when_it_was_first_reached():
    seconds, losses = [10, 20, 30, 40], [5, 3, 4, 1]
    for target, time in {5: 10, 4: 20, 3: 20, 2: 40, 1: 40, 0.5: np.inf}.items():
        assert time_to_target(seconds, losses, target) == time
    assert time_to_target(seconds, [np.nan, 3, np.inf, 1], 3) == 20
    assert time_to_target([], [], 1) == np.inf


def test_a_performance_profile_computed_by_hand():
    times = [[1, 4, np.inf], [2, 2, np.inf], [4, np.inf, np.inf]]
    expected = [[1 / 3, 2 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3], [0, 0, 1 / 3]]
    np.testing.assert_allclose(performance_profile(times, [1, 2, 4]), expected)
