"""Progress on a terminal as a bar, elsewhere as a few plain lines."""

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

LINES = 10

Item = TypeVar("Item")


def progress(items: Sequence[Item], description: str, unit: str) -> Iterator[Item]:
    """Yields `items`; on stderr a bar if it is a terminal, else at most about ten lines."""
    terminal = sys.stderr.isatty()
    every = -(-len(items) // LINES)
    bar = tqdm(items, desc=description, unit=unit, disable=not terminal)
    for count, item in enumerate(bar, start=1):
        yield item
        if not terminal and (count % every == 0 or count == len(items)):
            print(f"{description}: {count} of {len(items)} {unit}s", file=sys.stderr, flush=True)
