"""What the figures need to know about a column of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def smoothed(values: pd.Series) -> tuple[pd.Series, int]:
    """Returns an exponential moving average over a twentieth of the run, and that span in steps.

    Non-finite values are left out of the average.

    Args:
        values: one for each optimizer step, `(steps,)`.
    """
    span = max(10, round(len(values) / 20))
    return values.where(np.isfinite(values)).ewm(span=span).mean(), span


def finite_values(values: pd.Series) -> np.ndarray:
    """Returns the finite values, `(values,)` as float64.

    Args:
        values: `(values,)`, of numbers.
    """
    array = values.to_numpy(dtype=np.float64)
    return array[np.isfinite(array)]


def all_positive(values: pd.Series) -> bool:
    """Returns whether a logarithmic axis can show the values.

    It can if some are finite, and all finite ones are above 0.

    Args:
        values: `(values,)`, of numbers.
    """
    finite = finite_values(values)
    return bool(finite.size and (finite > 0).all())


def extremes(values: np.ndarray, points: int) -> np.ndarray:
    """Returns where a line through few points looks like the line through all: no spike is lost.

    Args:
        values: finite values, `(samples,)`.
        points: how many may stay.

    Returns:
        The indices of the lowest and the highest value of each of equal stretches, in order.
    """
    if values.size <= points:
        return np.arange(values.size)
    stretches = np.array_split(np.arange(values.size), max(1, points // 2))
    ends = [(part[np.argmin(values[part])], part[np.argmax(values[part])]) for part in stretches]
    return np.unique(np.concatenate(ends))


def thinned(steps: pd.DataFrame, curves: Sequence[str], points: int) -> pd.DataFrame:
    """Returns the rows of a table that draw the same curves.

    The first and the last row stay, the rows of `extremes` of each curve, and as many rows with
    values that are not finite.

    Args:
        steps: one row for each optimizer step.
        curves: the columns that are drawn.
        points: how many rows stay at most, if all values are finite.
    """
    if len(steps) <= points:
        return steps
    kept = {0, len(steps) - 1}
    for curve in curves:
        values = steps[curve].to_numpy(dtype=np.float64)
        finite = np.isfinite(values)
        where = np.flatnonzero(finite)
        kept.update(where[extremes(values[finite], (points - 2) // len(curves))].tolist())
        kept.update(np.flatnonzero(~finite)[:points].tolist())
    return steps.iloc[sorted(kept)]
