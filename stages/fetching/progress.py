"""Progress in bytes: a bar on a terminal, elsewhere a line at every tenth of the total."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

SMALL = 10_000_000  # bytes; smaller files show no progress
BYTES_PER_LINE = 1e9  # bytes between two lines if the total is unknown


class ByteProgress:
    """Shows how many of `total` bytes are done, at which rate, and how much time remains.

    Use it as a `with` block and call `add` for every piece of work.

    Args:
        description: what is done to which file.
        total: bytes; None if it is not known.
        bytes_before: how many of them were done before.
    """

    def __init__(self, description: str, total: int | None, bytes_before: int = 0) -> None:
        small = total is not None and total < SMALL
        self._prints_lines = not small and not sys.stderr.isatty()
        self._description = description
        self._total = total
        self._bytes_done = bytes_before
        self._bytes_before = bytes_before
        self._start_time = time.monotonic()
        self._bytes_per_line = total / 10 if total else BYTES_PER_LINE
        self._bar = tqdm(
            desc=description,
            total=total,
            initial=bytes_before,
            unit="B",
            unit_scale=True,
            disable=small or self._prints_lines,
        )

    def __enter__(self) -> ByteProgress:
        self._print_line()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, count: int) -> None:
        """Counts `count` more bytes as done."""
        self._bar.update(count)
        before = self._bytes_done
        self._bytes_done += count
        if before // self._bytes_per_line != self._bytes_done // self._bytes_per_line:
            self._print_line()

    def _print_line(self) -> None:
        if not self._prints_lines:
            return
        line = f"{self._description}: {_size(self._bytes_done)}"
        if self._total is not None:
            line += f" of {_size(self._total)}"
        seconds = time.monotonic() - self._start_time
        if self._bytes_done > self._bytes_before and seconds > 0:
            rate = (self._bytes_done - self._bytes_before) / seconds
            line += f", {_size(rate)}/s"
            if self._total is not None:
                remaining = max(0, self._total - self._bytes_done) / rate
                line += f", {tqdm.format_interval(remaining)} left"
        print(line, file=sys.stderr, flush=True)


def _size(count: float) -> str:
    """A number of bytes in words, as in `12.3MB`."""
    return tqdm.format_sizeof(count, "B")
