"""Distributes work over all cores, with the errors of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from contract.errors import InputError
from metrics.core import workers as core

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
    """Yields what `metrics.core.workers.on_all_cores` does.

    That module belongs to a package of its own, which does not know the errors that a command of
    the pipeline shows as one line.

    Args:
        function: defined at the top level of a module.
        items: what the function is called with.
        workers: the number of processes; None for one per core.
        batch: how many items a worker gets at once.

    Raises:
        KilledWorkerError: a worker was killed.
    """
    try:
        yield from core.on_all_cores(function, items, workers, batch)
    except core.KilledWorkerError as error:
        raise KilledWorkerError(*error.args) from None
