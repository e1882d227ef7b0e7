"""Progress on a terminal as a bar, elsewhere as a line now and then."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10

Item = TypeVar("Item")


def progress(items: Sequence[Item], description: str, unit: str) -> Iterator[Item]:
    """Yields `items`; on stderr a bar if it is a terminal, else a line every ten seconds or so
    and one at the end."""
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
