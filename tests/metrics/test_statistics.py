"""Statistics on data whose answers are known."""

import numpy as np
import pytest

from metrics.statistics import difference, mean, performance_profile, time_to_target


def covered(n, runs=400):
    """How often the interval of n normal values holds their true mean."""
    generator = np.random.default_rng(1)
    intervals = [mean(generator.normal(5, 2, n)) for _ in range(runs)]
    return np.mean([found.low <= 5 <= found.high for found in intervals])


def test_intervals_cover_what_they_say_when_there_are_enough_seeds():
    assert covered(40) == pytest.approx(0.94, abs=0.03)


def test_and_less_when_there_are_few():
    """As the documentation says."""
    assert covered(3) == pytest.approx(0.75, abs=0.06)
    assert covered(10) == pytest.approx(0.90, abs=0.04)


def test_a_mean_of_few():
    assert mean([1, 2, 6])[:1] == (3,)
    assert mean([1, 2, 6]).n == 3
    assert mean([1, 2, 6]) == mean([1, 2, 6])
    single = mean([4, np.nan, np.inf])
    assert (single.value, single.n) == (4, 1)
    assert np.isnan([single.low, single.high]).all()
    assert mean([]).n == 0
    same = mean([2, 2, 2])
    assert (same.value, same.low, same.high) == (2, 2, 2)


def test_paired_differences_leave_the_seeds_out():
    """Seeds differ by tens, the variants by one."""
    baseline = {seed: 10.0 * seed for seed in range(6)}
    values = {seed: value - 1 for seed, value in baseline.items()} | {99: 0.0}
    found = difference(values, baseline)
    assert (found.value, found.low, found.high, found.n) == (-1, -1, -1, 6)
    assert difference(values, {}).n == 0


def test_time_to_target_is_when_it_was_first_reached():
    seconds, losses = [10, 20, 30, 40], [5, 3, 4, 1]
    for target, time in {5: 10, 4: 20, 3: 20, 2: 40, 1: 40, 0.5: np.inf}.items():
        assert time_to_target(seconds, losses, target) == time
    assert time_to_target(seconds, [np.nan, 3, np.inf, 1], 3) == 20
    assert time_to_target([], [], 1) == np.inf


def test_a_performance_profile_by_hand():
    times = [[1, 4, np.inf], [2, 2, np.inf], [4, np.inf, np.inf]]
    found = performance_profile(times, [1, 2, 4])
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3], [0, 0, 1 / 3]])
