"""What the figures need to know of a column of numbers."""

import numpy as np
import pandas as pd


def smoothed(values: pd.Series) -> tuple[pd.Series, int]:
    """Exponential moving average over a twentieth of the run, and that span in steps."""
    span = max(10, round(len(values) / 20))
    return values.where(np.isfinite(values)).ewm(span=span).mean(), span


def finite_values(values: pd.Series) -> np.ndarray:
    values = values.to_numpy(dtype=np.float64)
    return values[np.isfinite(values)]


def all_positive(values: pd.Series) -> bool:
    """Whether a logarithmic axis can show them: all that are finite, and there are some."""
    finite = finite_values(values)
    return bool(finite.size and (finite > 0).all())
