"""Distributes work over all cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from threadpoolctl import threadpool_limits

from contract.errors import InputError

IN_FLIGHT = 4  # batches per worker: enough to keep it busy, few enough to hold in memory

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Returns how many cores this process may run on."""
    return len(os.sched_getaffinity(0))


def on_all_cores(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    batch: int = 1,
) -> Iterator[Result]:
    """Yields `function(item)` of every item, in their order, whatever the number of workers.

    Items are taken only as the work proceeds, so that there may be any number of them. Exceptions
    of the function are raised here. The workers end when this process ends, however it does.

    Args:
        function: defined at the top level of a module, so that the workers can find it by name.
        items: what the function is called with.
        workers: the number of processes; None for one per core.
        batch: how many items a worker gets at once; more than one where each takes milliseconds.

    Raises:
        InputError: a worker was killed.
    """
    workers = workers or cores()
    # A forked worker starts at once: nothing is imported again.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _prepare)
    pending = deque()
    try:
        items = iter(items)
        while items_of_batch := list(islice(items, batch)):
            pending.append(pool.submit(_call_each, function, items_of_batch))
            if len(pending) == IN_FLIGHT * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool:
        _kill(pool)
        raise InputError(
            "worker processes",
            "one of them was killed, perhaps because memory ran out",
            "repeat the command with more memory or on fewer cores",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _kill(pool: ProcessPoolExecutor) -> None:
    """Ends the workers of a pool that has lost one. The lost one may have held the lock under which
    they all hand over their results, for which the others then wait for ever; and Python's own way
    to end them is SIGTERM, which they ignore."""
    for process in list((pool._processes or {}).values()):
        process.kill()


def _call_each(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def _prepare() -> None:
    """Prepares a new worker.

    Signals, which the whole process group may get, are left to the main process, whose end is also
    the worker's.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threadpool_limits(1)  # of BLAS, whose last digits depend on it; a worker is one core's work


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
