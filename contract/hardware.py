"""Describes the hardware that a training runs on, for train.json."""

import os
import platform
from pathlib import Path


def processors() -> str:
    """Returns the number and the model of this machine's processors, as `2 x AMD EPYC`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"
