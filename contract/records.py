"""The records of a training.

steps.csv and epochs.csv grow with the training. When it resumes from a checkpoint, they are cut to
the rows that they had when the checkpoint was saved. train.json is the summary.
"""

from __future__ import annotations

import csv
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

from contract.errors import InputError, naming
from contract.files import write_all
from contract.locks import try_lock
from contract.numbers import finite_or_none

STEP_COLUMNS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds")
EPOCH_COLUMNS = ("epoch", "step", "train_loss", "valid_loss", "best_valid_loss")
COMPLETED, DIVERGED = "completed", "diverged"  # the status of a training that has ended
CHECKPOINT_SECONDS = 600  # seconds between checkpoints: the most work that a killed training loses

Opened = TypeVar("Opened", bound="GrowingFile")


class GrowingFile:
    """A file that only this process appends to, without buffering.

    Args:
        path: the file; its folder is made if it is missing.
        size: the number of bytes to continue after; 0 begins a new file.

    Attributes:
        path: the file.

    Raises:
        InputError: another process writes to the file, or it is shorter than `size`.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        # The kernel releases the lock when the process ends, however it does.
        if not try_lock(self._file):
            self._file.close()
            remedy = "wait for it to end, or choose another folder"
            raise InputError(path, "another training writes to this file", remedy)
        size_on_disk = os.path.getsize(path)
        if size_on_disk < size:
            self._file.close()
            raise InputError(
                path,
                f"has {size_on_disk} bytes, but the checkpoint was saved after {size}",
                "remove the folder to begin the training again",
            )
        self._file.truncate(size)

    def append(self, data: bytes) -> None:
        """Appends bytes. They are in the file when this returns, even if the process then dies.

        Args:
            data: the bytes.

        Raises:
            OSError: the disk is full.
        """
        with naming(self.path):
            write_all(self._file, data)

    def sync(self) -> int:
        """Flushes the file to the disk and returns its size in bytes."""
        with naming(self.path):
            os.fsync(self._file.fileno())
        return os.path.getsize(self.path)

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Table(GrowingFile):
    """A growing CSV file of numbers.

    Args:
        path: the file.
        columns: the names in its first line.
        count: the number of rows to continue after; later ones are dropped. 0 begins a new file.

    Attributes:
        rows: the rows so far, each with a number for every column.

    Raises:
        InputError: as for `GrowingFile`, or the file has fewer than `count` complete rows.
    """

    def __init__(self, path: Path, columns: Sequence[str], count: int = 0) -> None:
        self._columns = tuple(columns)
        lines = path.read_bytes().decode().splitlines(keepends=True) if path.exists() else []
        # A process that died may have left a part of a row. The first line holds the columns.
        kept_lines = [line for line in lines if line.endswith("\n")][: count + 1]
        rows = [
            {column: _number(row[column]) for column in columns}
            for row in csv.DictReader(kept_lines)
        ]
        if len(rows) < count:
            raise InputError(
                path,
                f"has {len(rows)} complete rows, but the checkpoint was saved after {count}",
                "remove the folder to begin the training again",
            )
        super().__init__(path, len("".join(kept_lines).encode()) if count else 0)
        self.rows: list[dict[str, float]] = rows if count else []
        if not count:
            self._write(columns)

    def row(self, **values: float) -> None:
        """Appends a row.

        Args:
            values: a number for every column. Floats are written so that they read back exactly.

        Raises:
            OSError: the disk is full.
        """
        self._write(repr(values[column]) for column in self._columns)
        self.rows.append(values)

    def _write(self, cells: Iterable[str]) -> None:
        self.append((",".join(cells) + "\n").encode())


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


class TrainingSummary(TypedDict):
    """What train.json holds.

    Attributes:
        status: `COMPLETED` or, if a loss is NaN or infinite, `DIVERGED`.
        steps: the number of optimizer steps.
        best_valid_loss: None if no validation had a finite loss.
        final_loss: the loss of the last step; None if it is not finite.
        seconds_per_step: the median.
        parameters: the number of trained parameters.
        hardware: that the training ran on, in words.
        optimizer_bytes: the memory of the optimizer's state at the end, without the weights.
    """

    status: str
    steps: int
    best_valid_loss: float | None
    final_loss: float | None
    seconds_per_step: float
    parameters: int
    hardware: str
    optimizer_bytes: int


def validation_row(
    epoch: int, step: int, losses: Sequence[float], valid_loss: float, best_loss: float
) -> dict[str, float]:
    """Returns the row of epochs.csv for a validation.

    Args:
        epoch: the number of the epoch that has ended.
        step: the number of steps taken.
        losses: the recorded losses of the epoch's steps, at least one.
        valid_loss: the loss of this validation.
        best_loss: the lowest loss of the validations so far, with this one or without it; infinite
            if there is none.

    Returns:
        A number for each of `EPOCH_COLUMNS`. `train_loss` is the mean of the losses.
        `best_valid_loss` is NaN before the first finite one.
    """
    best_loss = min(best_loss, valid_loss)  # in this order, NaN is never the lower one
    return {
        "epoch": epoch,
        "step": step,
        "train_loss": math.fsum(losses) / len(losses),
        "valid_loss": valid_loss,
        "best_valid_loss": best_loss if math.isfinite(best_loss) else math.nan,
    }


def divergence(loss: float, step: int, in_validation: bool = False) -> str:
    """Returns the line that says that a training ends because a loss is not finite.

    Args:
        loss: the loss, which is NaN or infinite.
        step: the number of steps taken.
        in_validation: whether it is the loss of the validation after the step, not of the step.
    """
    name = "the validation loss after" if in_validation else "the loss of"
    return f"diverged: {name} step {step} is {loss}"


def summary(
    steps: Sequence[dict[str, float]],
    epochs: Sequence[dict[str, float]],
    parameters: int,
    hardware: str,
    optimizer_bytes: int,
) -> TrainingSummary:
    """Returns the contents of train.json for a training that has ended.

    Args:
        steps: the rows of steps.csv, at least one.
        epochs: the rows of epochs.csv.
        parameters: the number of trained parameters.
        hardware: the hardware that it ran on, in words.
        optimizer_bytes: the bytes of the optimizer's state at the end: of all its tensors, those
            with the shape of weights and all others, but not of the weights themselves.
    """
    losses = [row["loss"] for row in steps] + [row["valid_loss"] for row in epochs]
    return {
        "status": COMPLETED if all(map(math.isfinite, losses)) else DIVERGED,
        "steps": steps[-1]["step"],
        "best_valid_loss": finite_or_none(best(epochs)["valid_loss"]),
        "final_loss": finite_or_none(steps[-1]["loss"]),
        "seconds_per_step": statistics.median(row["seconds"] for row in steps),
        "parameters": parameters,
        "hardware": hardware,
        "optimizer_bytes": optimizer_bytes,
    }


def best(epochs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the validation with the lowest loss.

    If none has a finite loss, that is step 0 with an infinite loss, which stands for the initial
    weights.

    Args:
        epochs: the rows of epochs.csv.
    """
    finite = [row for row in epochs if math.isfinite(row["valid_loss"])]
    initial = {"step": 0, "valid_loss": math.inf}
    return min(finite, key=lambda row: row["valid_loss"], default=initial)
