"""Work on all cores."""

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

from metrics.errors import InputError

IN_FLIGHT = 4  # batches per worker: enough to keep it busy, few enough to hold in memory

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def on_all_cores(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    batch: int = 1,
) -> Iterator[Result]:
    """Yields `function(item)` of every item, in their order, whatever the number of workers.

    Items are taken as they are worked on, so that there may be any number of them. The function's
    exceptions are raised here. However this process ends, so do the workers.

    Args:
        function: of a module, so that it has a name in the workers.
        workers: processes; None is one per core.
        batch: items that a worker gets at once; more than one where they take milliseconds.

    Raises:
        InputError: a worker was killed.
    """
    workers = workers or cores()
    pool = ProcessPoolExecutor(workers, _Workers(), _prepare)
    pending = deque()
    try:
        items = iter(items)
        while some := list(islice(items, batch)):
            pending.append(pool.submit(_each, function, some))
            if len(pending) == IN_FLIGHT * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool:
        found = "one that was killed (out of memory?)"
        raise InputError("worker processes", found, "all of them to finish") from None
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker(ForkProcess):
    """A worker. Python ends it when the pool has lost another one, which may have held the lock
    that all need to hand over their results; SIGTERM would not do, as workers ignore it."""

    def terminate(self) -> None:
        self.kill()


class _Workers(ForkContext):
    """Forked, a worker starts at once: nothing is imported again."""

    Process = _Worker


def _each(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def _prepare() -> None:
    """In a new worker: signals, which the whole group may get, are for the main process, whose end
    is also the worker's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threadpool_limits(1)  # of BLAS, whose last digits depend on it; a worker is one core's work


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
