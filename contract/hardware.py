"""What a training runs on, in words for train.json."""

import os
import platform
from pathlib import Path


def processors() -> str:
    """This machine's processors, as in `2 x AMD EPYC`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"
