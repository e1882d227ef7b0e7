"""The device that a process computes on."""

import os

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
