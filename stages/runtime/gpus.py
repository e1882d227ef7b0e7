"""The NVIDIA GPUs of this machine, each of which one run uses at a time.

In a job of Slurm, which shares the GPUs out itself, they are those that it has allotted to the job.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from contract.errors import InputError
from contract.locks import machine_lock, try_machine_lock, wait_for

LOCKS = "separation-gpus"  # the prefix of the locks' names
NO_GPUS = "NoDevFiles"  # what CUDA_VISIBLE_DEVICES holds in older versions of Slurm without GPUs

Request = str | int | list[int | str]  # `runtime.gpus` of configuration.yaml


def is_slurm_job() -> bool:
    """Returns whether this process runs in a job of Slurm."""
    return "SLURM_JOB_ID" in os.environ


def available() -> list[str]:
    """Returns the UUIDs of the GPUs that may be used, in the driver's order.

    These are all GPUs or, where CUDA_VISIBLE_DEVICES is set, those that it names by number or UUID.
    Without an NVIDIA driver there are none.

    In a job of Slurm they are what CUDA_VISIBLE_DEVICES names, as it stands: numbers, or UUIDs of
    GPUs or of their parts (MIG). Without it there are none.
    """
    if is_slurm_job():
        return _allotted()
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        listing = subprocess.run(query, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    uuids = listing.stdout.split()
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return uuids
    return [uuid for name in visible.split(",") for uuid in _matching(name.strip(), uuids)]


def _allotted() -> list[str]:
    """Returns what Slurm's CUDA_VISIBLE_DEVICES names."""
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return [name for name in names if name and name != NO_GPUS]


def names_for_the_engine(names: Sequence[str]) -> list[str]:
    """Returns the names of reserved GPUs for an engine, to which they have the machine's numbers.

    If Slurm confines a job to its GPUs, CUDA_VISIBLE_DEVICES counts them from 0. The numbers that
    they have on the machine are in SLURM_STEP_GPUS or, outside of a step, in SLURM_JOB_GPUS.

    Args:
        names: as `reserved` yields them.
    """
    if not is_slurm_job():
        return list(names)
    allotted = _allotted()
    listed = os.environ.get("SLURM_STEP_GPUS") or os.environ.get("SLURM_JOB_GPUS") or ""
    numbers = listed.split(",")
    if len(numbers) != len(allotted):
        return list(names)
    on_machine = dict(zip(allotted, numbers, strict=True))
    return [on_machine[name] if name.isdecimal() else name for name in names]


@contextmanager
def reserved(
    request: Request, list_gpus: Callable[[], Sequence[str]] = available
) -> Iterator[list[str]]:
    """Reserves GPUs for one run and yields their UUIDs or, in a job of Slurm, its names for them.

    While other runs use them it waits and says so. They are released at the end of the block. If
    this process dies before, the kernel releases them once the processes that it started have
    ended, too. In a job of Slurm nothing is locked, as the GPUs are the job's.

    Args:
        request: "none"; "all", of which there may be none; a count; or a list of numbers or UUIDs.
        list_gpus: returns the UUIDs of the GPUs to choose from.

    Raises:
        InputError: the request is for more GPUs than there are, or for one that does not exist.
    """
    if request == "none":
        yield []
        return
    candidates, count = _candidates(request, list(list_gpus()))
    if count == 0 or is_slurm_job():
        yield candidates[:count]
        return
    waits_for = "a free GPU" if count == 1 else f"{count} free GPUs"
    with ExitStack() as locks:
        # One run chooses at a time: two runs that each held half of what both request would wait
        # for each other for ever.
        with machine_lock(f"{LOCKS}/choosing", waits_for):
            uuids = wait_for(lambda: _lock(candidates, count, locks), waits_for)
        yield uuids


def _candidates(request: Request, uuids: list[str]) -> tuple[list[str], int]:
    """Returns the GPUs to choose from, and how many of them to choose."""
    if request == "all":
        return uuids, len(uuids)
    if isinstance(request, int):
        if request > len(uuids):
            problem = f"requests {_counted(request)}, but {_counted(len(uuids))} can be used here"
            raise InputError("runtime.gpus", problem, "request fewer, or set it to all or none")
        return uuids, request
    chosen = []
    for name in request:
        if not (matches := _matching(str(name), uuids)):
            problem = f"there is no GPU {name}: {_counted(len(uuids))} can be used here"
            remedy = "name GPUs by number, from 0, or by UUID, as `nvidia-smi -L` lists them"
            raise InputError("runtime.gpus", problem, remedy)
        chosen += [uuid for uuid in matches if uuid not in chosen]
    return chosen, len(chosen)


def _matching(name: str, uuids: list[str]) -> list[str]:
    """Returns the GPU of a number or of the start of a UUID; an empty list if there is none."""
    if name.isdecimal():
        return uuids[int(name) : int(name) + 1]
    return [uuid for uuid in uuids if name and uuid.startswith(name)][:1]


def _lock(candidates: list[str], count: int, locks: ExitStack) -> list[str] | None:
    """Locks `count` of the GPUs and returns them; None, and no lock, if fewer are free.

    Args:
        candidates: UUIDs, the preferred ones first.
        count: how many to lock.
        locks: receives the locks.
    """
    with ExitStack() as acquired:
        uuids = []
        for uuid in candidates:
            if (lock := try_machine_lock(f"{LOCKS}/{uuid}")) is None:
                continue
            # The trainer inherits the lock: if its launcher is killed, the GPU stays reserved until
            # the trainer ends.
            lock.set_inheritable(True)
            acquired.enter_context(lock)
            uuids.append(uuid)
            if len(uuids) == count:
                locks.enter_context(acquired.pop_all())
                return uuids
    return None


def _counted(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count or 'no'} GPUs"
