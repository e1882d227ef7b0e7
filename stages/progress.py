"""Progress in bytes: on a terminal a bar, elsewhere a line every tenth of the way."""

import sys
import time

from tqdm import tqdm

SMALL = 10_000_000  # bytes; less is not worth a line


class ByteProgress:
    """Counts bytes up to `total`, with their rate and the time that remains, as a `with` block.

    Args:
        description: what is done to which file.
        total: None if it is not known.
        done: bytes that were there before.
    """

    def __init__(self, description: str, total: int | None, done: int = 0):
        small = total is not None and total < SMALL
        self._plain = not small and not sys.stderr.isatty()
        self._description, self._total, self._done = description, total, done
        self._before, self._started = done, time.monotonic()
        self._step = total / 10 if total else 1e9
        self._bar = tqdm(
            desc=description,
            total=total,
            initial=done,
            unit="B",
            unit_scale=True,
            disable=small or self._plain,
        )

    def __enter__(self):
        self._say()
        return self

    def __exit__(self, *_):
        self._bar.close()

    def add(self, count: int) -> None:
        self._bar.update(count)
        before, self._done = self._done, self._done + count
        if before // self._step != self._done // self._step:
            self._say()

    def _say(self) -> None:
        if not self._plain:
            return
        line = f"{self._description}: {_size(self._done)}"
        if self._total is not None:
            line += f" of {_size(self._total)}"
        seconds = time.monotonic() - self._started
        if self._done > self._before and seconds > 0:
            rate = (self._done - self._before) / seconds
            line += f", {_size(rate)}/s"
            if self._total is not None:
                left = max(0, self._total - self._done) / rate
                line += f", {tqdm.format_interval(left)} left"
        print(line, file=sys.stderr, flush=True)


def _size(count: float) -> str:
    return tqdm.format_sizeof(count, "B")
