"""The NVIDIA GPUs of this machine, each for one run at a time."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from metrics.errors import InputError
from stages.lock import machine_lock, machine_locked, wait_for

LOCKS = "separation-gpus"  # the locks' names begin with it

Wanted = str | int | list[int | str]


def listed() -> list[str]:
    """The UUIDs of the GPUs that may be used, in the driver's order: all, or those that
    CUDA_VISIBLE_DEVICES allows by number or UUID. Empty where there is no NVIDIA driver."""
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    uuids = found.stdout.split()
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return uuids
    return [uuid for one in visible.split(",") for uuid in _named(one.strip(), uuids)]


@contextmanager
def taken(wanted: Wanted, find: Callable[[], Sequence[str]] = listed) -> Iterator[list[str]]:
    """Yields the UUIDs of the GPUs for one run, and lets go of them at the end of the block; if
    this process dies before, the kernel does, once the processes that it started are gone too.

    Waits, and says so, while another run has them.

    Args:
        wanted: "none"; "all", which may be none; how many; or which, by number or UUID.
        find: the GPUs of the machine.

    Raises:
        InputError: more GPUs than there are, or others.
    """
    if wanted == "none":
        yield []
        return
    there = list(find())
    candidates, count = _candidates(wanted, there)
    if count == 0:
        yield []
        return
    in_use = f"{_counted(count)} in use"
    with ExitStack() as held:
        # One run chooses at a time: two that each had half of what both want would wait for ever.
        with machine_lock(f"{LOCKS}/choosing", in_use):
            free = wait_for(lambda: _lock(candidates, count, held), in_use)
        yield free


def _candidates(wanted: Wanted, there: list[str]) -> tuple[list[str], int]:
    """The GPUs to choose from, and how many of them."""
    if wanted == "all":
        return there, len(there)
    machine = f"this machine has {len(there) or 'none'} that may be used"
    if isinstance(wanted, int):
        if wanted > len(there):
            expected = f"no more NVIDIA GPUs than there are: {machine}"
            raise InputError("runtime.gpus", wanted, expected)
        return there, wanted
    chosen = []
    for one in wanted:
        if not (uuids := _named(str(one), there)):
            raise InputError("runtime.gpus", repr(one), f"the number or UUID of a GPU: {machine}")
        chosen += [uuid for uuid in uuids if uuid not in chosen]
    return chosen, len(chosen)


def _named(name: str, uuids: list[str]) -> list[str]:
    """The GPU of a number or of (the start of) a UUID; none if there is no such one."""
    if name.isdecimal():
        return uuids[int(name) : int(name) + 1]
    return [uuid for uuid in uuids if name and uuid.startswith(name)][:1]


def _lock(candidates: list[str], count: int, held: ExitStack) -> list[str] | None:
    """Locks `count` of the GPUs and returns which; None, and no lock, if fewer are free."""
    with ExitStack() as locks:
        free = []
        for uuid in candidates:
            if (lock := machine_locked(f"{LOCKS}/{uuid}")) is None:
                continue
            # The trainer inherits it: should its launcher be killed, the GPU is not free before
            # the trainer ends.
            lock.set_inheritable(True)
            locks.enter_context(lock)
            free.append(uuid)
            if len(free) == count:
                held.enter_context(locks.pop_all())
                return free
    return None


def _counted(count: int) -> str:
    return "a GPU" if count == 1 else f"{count} GPUs"
