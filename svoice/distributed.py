"""Training in several processes, as torchrun starts them, each with its share of every batch.

Without torchrun there is one process, of rank 0 in a world of size 1, and nothing is exchanged.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from contract.errors import InputError
from contract.termination import EXIT_CODE, Terminated
from svoice.devices import check_gpus, default_device

GRACE_SECONDS = 10  # by which processes that meet the same error may be apart
EXIT_SECONDS = 120  # more than torchrun needs to stop a process on a busy machine


def rank() -> int:
    """Returns the number of this process, from 0."""
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def world_size() -> int:
    """Returns the number of processes."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def is_first() -> bool:
    """Returns whether this is the process that writes files and prints."""
    return rank() == 0


@contextmanager
def process_group() -> Iterator[None]:
    """Connects the processes for the duration of the block.

    An error in one process ends all of them, because torchrun stops the others when one exits. So
    that each error is printed once, a process that fails waits before it exits: the first process,
    which may have met the same error, exits at once and is the only one to print it. An error that
    only says that another process is gone is not printed, because its process is stopped while it
    waits. Where SIGTERM ends a training, all processes leave together.
    """
    if not dist.is_torchelastic_launched():
        _check_gpus()
        yield
        return
    try:
        _check_gpus()
        device = default_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
            dist.init_process_group("nccl", device_id=device)
        else:
            dist.init_process_group("gloo")
        yield
    except Terminated:
        leave(EXIT_CODE)
    except (Exception, SystemExit) as error:
        if not (is_first() and isinstance(error, InputError | OSError | SystemExit)):
            time.sleep(GRACE_SECONDS)
        raise
    dist.destroy_process_group()


def _check_gpus() -> None:
    """Checks the GPUs of this run as `check_gpus` does. The first process prints its warning."""
    warning = check_gpus()
    if warning and is_first():
        print(warning, file=sys.stderr, flush=True)


def leave(code: int = 0) -> None:
    """Ends this process, by default with success, if torchrun has started it.

    A thread of Gloo may still hold a tensor of the last exchange. If it let go of it while Python
    ends, it would abort the process. So the process ends at once, without that.

    Args:
        code: the exit code.
    """
    if dist.is_torchelastic_launched():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Replaces a tensor by its sum over the processes, in place, and returns it.

    Args:
        tensor: of the same shape in every process, on its device.
    """
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def wait_for_all() -> None:
    """Waits until every process has called this."""
    if dist.is_initialized():
        dist.barrier()


def from_first(make: Callable[[], Any]) -> Any:
    """Returns in every process what the first process makes.

    If it fails, the first process prints the error and exits. The others wait for torchrun to stop
    them, so that they do not print it again.

    Args:
        make: is called in the first process only.

    Raises:
        InputError: `make` raised it; every process raises it.
        OSError: the same.
    """
    if not dist.is_initialized():
        return make()
    answer: list[Any] = [None, None]
    if is_first():
        try:
            answer[0] = make()
        except (InputError, OSError) as error:
            answer[1] = error
    dist.broadcast_object_list(answer)
    if answer[1] is not None:
        if not is_first():
            time.sleep(EXIT_SECONDS)
        raise answer[1]
    return answer[0]


def check_agreement(step: int, checkpoint: Path) -> None:
    """Checks that all processes resume from the same step.

    Args:
        step: the step that this process has read.
        checkpoint: the file that it has read it from, for the error.

    Raises:
        InputError: the processes have read different steps.
    """
    if dist.is_initialized():
        steps = [None] * world_size()
        dist.all_gather_object(steps, step)
        if len(set(steps)) > 1:
            raise InputError(
                checkpoint,
                f"the processes read different steps from it: {sorted(set(steps))}",
                "put it in a folder that all processes share",
            )


def data_parallel(network: nn.Module) -> nn.Module:
    """Returns the module to call in training.

    That is the network itself or, where there are several processes, a wrapper of it whose backward
    pass leaves the mean of the processes' gradients in each process.

    Args:
        network: the network, on its device and with the same weights in every process.
    """
    if not dist.is_initialized():
        return network
    device = next(network.parameters()).device
    return torch.nn.parallel.DistributedDataParallel(
        network, device_ids=[device] if device.type == "cuda" else None
    )
