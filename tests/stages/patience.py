"""Waiting for other processes, but not for ever."""

import select
from typing import TextIO

SECONDS = 300  # for what takes a moment, on a busy machine


def line(stream: TextIO) -> str:
    """Returns the next line of a process's output; an empty text if the process has ended.

    Fails if nothing comes within `SECONDS`.
    """
    assert select.select([stream], [], [], SECONDS)[0], "the process wrote nothing"
    return stream.readline()
