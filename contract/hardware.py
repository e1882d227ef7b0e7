"""The hardware that a training runs on: its description, for train.json, and its GPUs."""

import os
import platform
from pathlib import Path

from contract.errors import InputError

# The environment variable by which a launcher says how many GPUs of this machine a run has.
RESERVED_GPUS = "SEPARATION_GPUS"


def processors() -> str:
    """Returns the number and the model of this machine's processors, as `2 x AMD EPYC`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"


def reserved_gpus() -> int:
    """Returns how many GPUs of this machine a launcher has reserved for this run."""
    return int(os.environ.get(RESERVED_GPUS) or 0)


def unusable_gpus(reason: str, remedy: str = "") -> InputError:
    """Returns the error of a run that cannot use the GPUs that it has.

    Args:
        reason: why.
        remedy: what to do about it, besides training without them.
    """
    remedy = f"{remedy}, or set it to none" if remedy else "set it to none"
    return InputError("runtime.gpus", f"the GPU of this run cannot be used: {reason}", remedy)


def no_gpus_warning(reason: str) -> str:
    """Returns the line that says that a run uses processors although it has GPUs.

    Args:
        reason: why.
    """
    return f"WARNING: runtime.gpus: the processors are used instead of the GPU: {reason}"
