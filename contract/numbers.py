"""Numbers for JSON, which has no NaN and no infinity."""

import math


def finite_or_none(value: float) -> float | None:
    """Returns a finite number as it is, and None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def rounded(value: float | None, digits: int) -> float | None:
    """Returns a number rounded to some decimals; None stays None.

    Args:
        value: the number.
        digits: the number of decimals.
    """
    return None if value is None else round(value, digits)
