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
from multiprocessing.context import ForkContext, ForkProcess
from typing import TypeVar

from threadpoolctl import threadpool_limits

from .cores import cores
from .errors import InputError

IN_FLIGHT = 4  # batches per worker: enough to keep it busy, few enough to hold in memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class KilledWorkerError(InputError):
    """A worker process was killed, which says nothing about the items."""


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
        KilledWorkerError: a worker was killed.
    """
    workers = workers or cores()
    pool = ProcessPoolExecutor(workers, _Workers(), _prepare)
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
        raise KilledWorkerError(
            "worker processes",
            "one of them was killed, perhaps because memory ran out",
            "repeat the command with more memory or on fewer cores",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker(ForkProcess):
    """One process of the pool.

    When the pool has lost a worker, Python ends the others by terminate(). They may be waiting for
    the lock under which results are handed over, which the lost one may have held for ever, and
    they ignore the signal that terminate() usually sends.
    """

    def terminate(self) -> None:
        self.kill()


class _Workers(ForkContext):
    """Forked, a worker starts at once: nothing is imported again."""

    Process = _Worker


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
