"""Waiting for what other processes do, and not for ever."""

import select

SECONDS = 300  # for what takes a moment, on a busy machine


def line(stream) -> str:
    """The next line that a process says, without what follows it; "" if it has ended."""
    assert select.select([stream], [], [], SECONDS)[0], "nothing was said"
    return stream.readline()
