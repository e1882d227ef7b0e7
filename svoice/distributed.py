"""Several processes, as torchrun starts them, each with its share of every batch.

Without torchrun there is one, of rank 0 in a world of 1, and nothing is exchanged.
"""

import os
import time
from contextlib import contextmanager

import torch
import torch.distributed as dist

from svoice.devices import default_device
from svoice.errors import InputError

GRACE_SECONDS = 3


def rank():
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def world():
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def first():
    """Whether this is the process that writes and prints."""
    return rank() == 0


@contextmanager
def processes():
    """Connect the processes for the block.

    An error of one ends them all: torchrun stops the others when it has left. Before it leaves it
    lets the first process, which may have found the same, say so alone; and an error that is only
    the others' departure is never said.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    try:
        device = default_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
            dist.init_process_group("nccl", device_id=device)
        else:
            dist.init_process_group("gloo")
        yield
    except (Exception, SystemExit) as error:
        if not (first() and isinstance(error, InputError | OSError | SystemExit)):
            time.sleep(GRACE_SECONDS)
        raise
    dist.destroy_process_group()


def add_up(tensor):
    """Replace a tensor by its sum over the processes. → the tensor"""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def wait_for_all():
    if dist.is_initialized():
        dist.barrier()


def check_agreement(number, where):
    """Raise InputError unless every process read the same whole number from the file `where`."""
    if dist.is_initialized():
        numbers = [None] * world()
        dist.all_gather_object(numbers, number)
        if len(set(numbers)) > 1:
            raise InputError(
                where, f"steps {sorted(set(numbers))}", "one file that all processes share"
            )


def model_of(network):
    """What to call for training: the network, or where there are several processes a wrapper
    whose backward pass leaves their mean gradient in each."""
    if not dist.is_initialized():
        return network
    device = next(network.parameters()).device
    return torch.nn.parallel.DistributedDataParallel(
        network, device_ids=[device] if device.type == "cuda" else None
    )
