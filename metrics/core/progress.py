"""Shows progress: as a bar on a terminal, elsewhere as a line now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TextIO, TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10

Item = TypeVar("Item")


def progress(items: Sequence[Item], description: str, unit: str) -> Iterator[Item]:
    """Yields the items, and shows on stderr how many have been handled.

    On a terminal this is a bar; elsewhere it is a line every ten seconds or so, and one at the end.

    Args:
        items: what is worked on.
        description: the work, as `scoring music`.
        unit: the singular noun for an item, as `track`.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    last = time.monotonic()
    bar = tqdm(items, desc=description, unit=unit, disable=not terminal)
    for count, item in enumerate(bar, start=1):
        yield item
        if not terminal and (
            count == len(items) or time.monotonic() - last > SECONDS_BETWEEN_LINES
        ):
            say(f"{description}: {count} of {len(items)} {unit}s", sys.stderr)
            last = time.monotonic()


def say(text: str, stream: TextIO | None) -> None:
    """Prints a text at once, for as long as somebody reads it: `| head` may be enough for them.

    Args:
        text: what is printed.
        stream: stdout or stderr; None, as Python has it, if it was closed from the beginning.

    Raises:
        OSError: it cannot be printed, for instance because a disk is full.
    """
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except OSError as error:
        with open(os.devnull, "w") as nothing:  # takes what Python prints when it ends
            os.dup2(nothing.fileno(), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            error.filename = stream.name
            raise
