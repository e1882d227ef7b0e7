"""Counts the cores that there are to work on."""

from __future__ import annotations

import os


def cores() -> int:
    """Returns how many cores this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not say; they seldom limit a process
        return os.cpu_count() or 1
