"""What the figures need to know about a column of numbers."""

from __future__ import annotations

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
