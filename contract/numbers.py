"""Numbers for JSON, which has no NaN and no infinity."""

import math


def finite_or_none(value: float) -> float | None:
    """Returns a finite number as it is, and None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None
