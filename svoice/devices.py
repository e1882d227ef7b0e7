"""The device that a process computes on."""

import os
import platform
from pathlib import Path

import torch

from svoice.errors import InputError


def default_device():
    """A GPU where there is one: of several processes on a machine, each has its own.

    Raises InputError when torchrun started more processes than there are GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= count:
        raise InputError(
            "torchrun", f"process {number + 1} of a machine", f"at most {count}, a GPU each"
        )
    return torch.device("cuda", number)


def hardware(device, processes=1):
    """What `processes` like this one train on, as in `2 x NVIDIA H100 80GB HBM3`."""
    if device.type == "cuda":
        return f"{processes} x {torch.cuda.get_device_name(device)}"
    return processors()


def processors():
    """This machine's processors, as in `2 x AMD EPYC`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"
