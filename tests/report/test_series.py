"""Curves with fewer points look like those with all."""

import numpy as np
import pandas as pd

from report.series import extremes, thinned

CURVES = ("loss", "gradient_norm")


def steps(count: int) -> pd.DataFrame:
    """A table of steps with a spike in each curve."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "step": np.arange(1, count + 1),
            "loss": 10 / np.sqrt(np.arange(1, count + 1)) + rng.random(count),
            "gradient_norm": rng.random(count),
        }
    )
    table.loc[count // 3, "loss"] = 99.0
    table.loc[count // 2, "gradient_norm"] = -99.0
    return table


def test_spikes_and_both_ends_stay():
    table = steps(200_000)
    thin = thinned(table, CURVES, 1000)
    assert len(thin) <= 1000
    assert {1, 200_000, 200_000 // 3 + 1, 200_000 // 2 + 1} <= set(thin["step"])
    assert thin["step"].is_monotonic_increasing
    pd.testing.assert_frame_equal(thin, table.loc[thin.index])


def test_a_curve_by_itself_keeps_the_extremes_of_every_stretch():
    values = steps(100_000)["loss"].to_numpy()
    kept = extremes(values, 100)
    for stretch in np.array_split(np.arange(values.size), 50):
        inside = values[kept[(kept >= stretch[0]) & (kept <= stretch[-1])]]
        assert (inside.min(), inside.max()) == (values[stretch].min(), values[stretch].max())


def test_a_short_training_stays_as_it_is():
    table = steps(1000)
    pd.testing.assert_frame_equal(thinned(table, CURVES, 1000), table)


def test_values_that_are_not_finite_stay():
    table = steps(5000)
    table.loc[4321, "loss"] = np.nan
    table.loc[1234, "loss"] = np.inf
    thin = thinned(table, CURVES, 100)
    assert {4322, 1235} <= set(thin["step"])
    assert len(thin) <= 102


def test_a_constant_curve_takes_few_points():
    assert len(extremes(np.ones(100_000), 1000)) <= 1000
