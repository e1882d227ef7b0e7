"""Waiting for other processes, but not for ever."""

import select
import time
from collections.abc import Callable
from typing import TextIO

SECONDS = 300  # for what takes a moment, on a busy machine


def line(stream: TextIO) -> str:
    """Returns the next line of a process's output; an empty text if the process has ended.

    Fails if nothing comes within `SECONDS`.
    """
    assert select.select([stream], [], [], SECONDS)[0], "the process wrote nothing"
    return stream.readline()


def until(condition: Callable[[], object]) -> None:
    """Waits until a condition holds. Fails if it does not within `SECONDS`."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.005)
