"""SIGTERM, with which a cluster asks a training to end before a time limit or a preemption."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CODE = 128 + signal.SIGTERM  # as a shell reports a command that SIGTERM has ended

_requested = False


class Terminated(SystemExit):
    """The training ends early, because SIGTERM asked for it, with `EXIT_CODE`."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


@contextmanager
def postponed() -> Iterator[None]:
    """Makes SIGTERM a request, which the block answers when it can; see `requested`.

    Without it, SIGTERM ends the process at once, and a training loses the steps since its last
    checkpoint.
    """

    def note(*_: object) -> None:
        global _requested
        _requested = True

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def requested() -> bool:
    """Returns whether SIGTERM has asked this process to end, in a block of `postponed`."""
    return _requested


def notice(step: int) -> str:
    """Returns the line that says that a training ends early.

    Args:
        step: the number of steps taken, after which a checkpoint was saved.
    """
    return f"ended by SIGTERM: the same command goes on after step {step}"
