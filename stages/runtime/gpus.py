"""The NVIDIA GPUs of this machine, each of which one run uses at a time.

In a job of Slurm, which shares the GPUs out itself, they are those that it has allotted to the job.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from contract.errors import InputError
from contract.locks import machine_lock, try_machine_lock, wait_for
from contract.params import ContainerRuntime, LocalRuntime
from stages.runtime import nvidia
from stages.runtime.nvidia import Driver, Gpu

LOCKS = "separation-gpus"  # the prefix of the locks' names
NO_GPUS = "NoDevFiles"  # what CUDA_VISIBLE_DEVICES holds in older versions of Slurm without GPUs
KEY = "runtime.gpus"

Request = str | int | list[int | str]  # `runtime.gpus` of configuration.yaml


def is_slurm_job() -> bool:
    """Returns whether this process runs in a job of Slurm."""
    return "SLURM_JOB_ID" in os.environ


def available() -> list[Gpu]:
    """Returns the GPUs that may be used, as `visible` describes them."""
    return list(visible().gpus)


def visible() -> Driver:
    """Returns the driver and the GPUs that may be used, in the driver's order.

    These are all GPUs or, where CUDA_VISIBLE_DEVICES is set, those that it names by number or UUID.
    Without an NVIDIA driver there are none.

    In a job of Slurm they are what CUDA_VISIBLE_DEVICES names, as it stands: numbers, or UUIDs of
    GPUs or of their parts (MIG). Without it there are none.
    """
    if is_slurm_job():
        return Driver(gpus=tuple(map(Gpu, _allotted())))
    driver = nvidia.driver()
    if (names := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return driver
    gpus = [gpu for name in names.split(",") for gpu in _matching(name.strip(), driver.gpus)]
    return replace(driver, gpus=tuple(gpus))


def visible_to(model: str, runtime: LocalRuntime | ContainerRuntime) -> Driver:
    """Returns what `visible` returns, with what a trainer cannot use refused.

    Args:
        model: whose trainer: `spleeter` or `svoice`.
        runtime: where it runs.
    """
    driver = visible()
    gpus = [
        replace(gpu, refusal=nvidia.refusal(gpu, driver.version, model, runtime))
        for gpu in driver.gpus
    ]
    return replace(driver, gpus=tuple(gpus))


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
    request: Request, list_gpus: Callable[[], Driver] = visible, at_most: int | None = None
) -> Iterator[list[Gpu]]:
    """Reserves GPUs for one run and yields them.

    While other runs use them it waits and says so. They are released at the end of the block. If
    this process dies before, the kernel releases them once the processes that it started have
    ended, too. In a job of Slurm nothing is locked, as the GPUs are the job's.

    GPUs that a trainer cannot use are passed over in a line on stderr, unless they were requested
    by name. Of the others, those that other programs use least come first.

    Args:
        request: `auto`, one where there is one, or all that Slurm has allotted; `none`; `all`, of
            which there may be none; a count; or a list of numbers or UUIDs.
        list_gpus: returns the driver and the GPUs to choose from.
        at_most: how many of the request to reserve at most; None reserves all.

    Raises:
        InputError: the request is for more GPUs than can be used, for one that does not exist or
            cannot be used, or for several of which some are parts (MIG): CUDA shows a process no
            more than one of those.
    """
    if request == "none":
        yield []
        return
    candidates, count = _candidates(request, list_gpus())
    count = min(count, at_most or count)
    if count > 1:
        whole = [gpu for gpu in candidates if not gpu.is_part]
        if len(whole) < count:
            problem = f"a training cannot use {count} GPUs if some are parts of one (MIG)"
            raise InputError(KEY, problem, "set it to 1 or to auto")
        candidates = whole
    if count == 0 or is_slurm_job():
        yield candidates[:count]
        return
    waits_for = "a free GPU" if count == 1 else f"{count} free GPUs"
    with ExitStack() as locks:
        # One run chooses at a time: two runs that each held half of what both request would wait
        # for each other for ever.
        with machine_lock(f"{LOCKS}/choosing", waits_for):
            gpus = wait_for(lambda: _lock(candidates, count, locks), waits_for)
        _report_other_programs(gpus, list_gpus)
        yield gpus


def _candidates(request: Request, driver: Driver) -> tuple[list[Gpu], int]:
    """Returns the GPUs to choose from, and how many of them to choose."""
    if isinstance(request, list):
        chosen = _named(request, driver)
        return chosen, len(chosen)
    usable = sorted((gpu for gpu in driver.gpus if not gpu.refusal), key=lambda gpu: gpu.used_gib)
    if isinstance(request, int) and request > len(usable):
        problem = f"requests {_counted(request)}, but {_counted(len(usable))} can be used here"
        reasons = [f"{gpu}: {gpu.refusal}" for gpu in driver.gpus if gpu.refusal]
        if driver.failure:
            reasons.append(f"nvidia-smi: {driver.failure}")
        problem += f" ({'; '.join(reasons)})" if reasons else ""
        raise InputError(KEY, problem, "request fewer, or set it to auto or none")
    _report_unused(driver, bool(usable))
    if isinstance(request, int):
        return usable, request
    if request == "all":
        return usable, len(usable)
    everything = is_slurm_job() and not any(gpu.is_part for gpu in usable)
    return usable, len(usable) if everything else min(1, len(usable))


def runs_at_once(request: Request) -> int:
    """Returns how many runs have all GPUs that they request at the same time; at least 1.

    Args:
        request: of each run, as for `reserved`.
    """
    if isinstance(request, list) or request in ("all", "none"):
        return 1  # all runs request the same GPUs, or share the processors
    return max(1, len(available()) // (1 if request == "auto" else request))


def _named(names: Sequence[int | str], driver: Driver) -> list[Gpu]:
    """Returns the GPUs of numbers or UUIDs.

    Raises:
        InputError: there is no such GPU, or the trainer cannot use it.
    """
    chosen: list[Gpu] = []
    for name in names:
        if not (matches := _matching(str(name), driver.gpus)):
            problem = f"there is no GPU {name}: {_counted(len(driver.gpus))} can be used here"
            remedy = "name GPUs by number, from 0, or by UUID, as `nvidia-smi -L` lists them"
            raise InputError(KEY, problem, remedy)
        (gpu,) = matches
        if gpu.refusal:
            problem = f"{gpu} cannot be used: {gpu.refusal}"
            raise InputError(KEY, problem, "name another GPU, or set it to none")
        chosen += [gpu] if gpu not in chosen else []
    return chosen


def _report_unused(driver: Driver, others: bool) -> None:
    """Says on stderr why GPUs are passed over.

    Args:
        driver: the driver and the GPUs.
        others: whether there are GPUs that can be used.
    """
    instead = "" if others else "; the processors are used instead"
    if driver.failure:
        print(f"WARNING: {KEY}: nvidia-smi: {driver.failure}{instead}", file=sys.stderr)
    for gpu in driver.gpus:
        if gpu.refusal:
            print(f"WARNING: {KEY}: {gpu} is not used: {gpu.refusal}{instead}", file=sys.stderr)


def _report_other_programs(gpus: Sequence[Gpu], list_gpus: Callable[[], Driver]) -> None:
    """Says on stderr which reserved GPUs are in use by programs other than runs like this one."""
    if not any(gpu.used_gib for gpu in gpus):
        return
    # Other runs may have ended since the GPUs were listed.
    used = {gpu.uuid: gpu.used_gib for gpu in list_gpus().gpus}
    for gpu in gpus:
        if used.get(gpu.uuid):
            problem = f"other programs use {used[gpu.uuid]} GiB of the memory of {gpu}"
            print(f"WARNING: {KEY}: {problem}", file=sys.stderr)


def _matching(name: str, gpus: Sequence[Gpu]) -> Sequence[Gpu]:
    """Returns the GPU of a number or of the start of a UUID; an empty list if there is none."""
    if name.isdecimal():
        return gpus[int(name) : int(name) + 1]
    return [gpu for gpu in gpus if name and gpu.uuid.startswith(name)][:1]


def _lock(candidates: Sequence[Gpu], count: int, locks: ExitStack) -> list[Gpu] | None:
    """Locks `count` of the GPUs and returns them; None, and no lock, if fewer are free.

    Args:
        candidates: the preferred ones first.
        count: how many to lock.
        locks: receives the locks.
    """
    with ExitStack() as acquired:
        gpus = []
        for gpu in candidates:
            if (lock := try_machine_lock(f"{LOCKS}/{gpu.uuid}")) is None:
                continue
            # The trainer inherits the lock: if its launcher is killed, the GPU stays reserved until
            # the trainer ends.
            lock.set_inheritable(True)
            acquired.enter_context(lock)
            gpus.append(gpu)
            if len(gpus) == count:
                locks.enter_context(acquired.pop_all())
                return gpus
    return None


def _counted(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count or 'no'} GPUs"
