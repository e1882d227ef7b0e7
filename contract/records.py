"""The records of a training: steps.csv and epochs.csv, which grow with it and go back to a
checkpoint when it resumes, and train.json, its summary."""

from __future__ import annotations

import csv
import fcntl
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.errors import InputError, naming
from contract.files import write_all
from contract.numbers import finite_or_none


class GrowingFile:
    """A file that only this process appends to. What is appended is in it when `append` returns.

    Args:
        path: the file; its folder is made if it is missing.
        size: how many bytes of it to continue after; 0 begins a new file.

    Raises:
        InputError: another process writes to the file, or it is shorter than `size`.
    """

    def __init__(self, path: Path, size: int = 0):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        try:
            # The kernel holds the lock until the process ends, however it does.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            remedy = "wait for it to end, or choose another folder"
            raise InputError(path, "another training writes to this file", remedy) from None
        present = os.path.getsize(path)
        if present < size:
            self._file.close()
            raise InputError(
                path,
                f"has {present} bytes, but the checkpoint was saved after {size}",
                "remove the folder to begin the training again",
            )
        self._file.truncate(size)

    def append(self, data: bytes) -> None:
        with naming(self.path):
            write_all(self._file, data)

    def sync(self) -> int:
        """Brings the file to the disk and returns its size in bytes."""
        with naming(self.path):
            os.fsync(self._file.fileno())
        return os.path.getsize(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


class Table(GrowingFile):
    """A growing CSV file of numbers.

    Args:
        path: the file.
        columns: the names in its first line.
        count: how many rows to continue after; later ones are dropped.

    Attributes:
        rows: the rows so far, each a dictionary of numbers.

    Raises:
        InputError: as for `GrowingFile`, or the file has fewer than `count` whole rows.
    """

    def __init__(self, path: Path, columns: Sequence[str], count: int = 0):
        self._columns = tuple(columns)
        lines = path.read_bytes().decode().splitlines(keepends=True) if path.exists() else []
        # A process that died may have left a part of a row.
        whole = [line for line in lines if line.endswith("\n")][: count + 1]
        rows = [
            {column: _number(row[column]) for column in columns} for row in csv.DictReader(whole)
        ]
        if len(rows) < count:
            raise InputError(
                path,
                f"has {len(rows)} whole rows, but the checkpoint was saved after {count}",
                "remove the folder to begin the training again",
            )
        super().__init__(path, len("".join(whole).encode()) if count else 0)
        self.rows: list[dict[str, float]] = rows if count else []
        if not count:
            self._write(columns)

    def row(self, **values: float) -> None:
        """Appends a row. Floats are written so that they read back exactly."""
        self._write(repr(values[column]) for column in self._columns)
        self.rows.append(values)

    def _write(self, cells) -> None:
        self.append((",".join(cells) + "\n").encode())


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


def summary(
    steps: Sequence[dict[str, float]],
    epochs: Sequence[dict[str, float]],
    parameters: int,
    hardware: str,
) -> dict[str, Any]:
    """What train.json says about a training that has ended.

    Args:
        steps: the rows of steps.csv, at least one.
        epochs: the rows of epochs.csv.
        parameters: how many numbers were trained.
        hardware: what on, in words.
    """
    losses = [row["loss"] for row in steps] + [row["valid_loss"] for row in epochs]
    return {
        "status": "completed" if all(map(math.isfinite, losses)) else "diverged",
        "steps": steps[-1]["step"],
        "best_valid_loss": finite_or_none(best(epochs)["valid_loss"]),
        "final_loss": finite_or_none(steps[-1]["loss"]),
        "seconds_per_step": statistics.median(row["seconds"] for row in steps),
        "parameters": parameters,
        "hardware": hardware,
    }


def best(epochs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The validation with the lowest loss; before the first finite one, step 0 with an infinite
    loss, which stands for the initial weights."""
    finite = [row for row in epochs if math.isfinite(row["valid_loss"])]
    initial = {"step": 0, "valid_loss": math.inf}
    return min(finite, key=lambda row: row["valid_loss"], default=initial)
