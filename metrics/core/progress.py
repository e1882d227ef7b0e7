"""Shows progress: as a bar on a terminal, elsewhere as a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

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
    terminal = sys.stderr.isatty()
    last = time.monotonic()
    bar = tqdm(items, desc=description, unit=unit, disable=not terminal)
    for count, item in enumerate(bar, start=1):
        yield item
        if not terminal and (
            count == len(items) or time.monotonic() - last > SECONDS_BETWEEN_LINES
        ):
            print(f"{description}: {count} of {len(items)} {unit}s", file=sys.stderr, flush=True)
            last = time.monotonic()
