"""The records that a training writes as it goes.

These are a row of a CSV file per step and per validation, and the same numbers for TensorBoard.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from contract.events import Events, events_file
from contract.layout import EPOCHS, STEPS
from contract.menu import SVOICE
from contract.records import EPOCH_COLUMNS, STEP_COLUMNS, Table

EVENTS = events_file(SVOICE)
FILES = (STEPS, EPOCHS, EVENTS)


class Records:
    """The files `FILES` in a folder.

    Args:
        folder: the folder.
        state: what `sync` has returned, to continue from there; None begins new files.

    Attributes:
        steps: steps.csv.
        epochs: epochs.csv.

    Raises:
        InputError: another process writes to the files, or they are shorter than `state` says.
    """

    def __init__(self, folder: Path, state: tuple[int, int, int] | None = None) -> None:
        steps, epochs, events = state or (0, 0, 0)
        with ExitStack() as opened:
            self.steps = opened.enter_context(Table(folder / STEPS, STEP_COLUMNS, steps))
            self.epochs = opened.enter_context(Table(folder / EPOCHS, EPOCH_COLUMNS, epochs))
            self._events = opened.enter_context(Events(folder / EVENTS, events))
            self._opened = opened.pop_all()

    def step(self, **row: float) -> None:
        """Records an optimizer step.

        Args:
            row: a value for each of `STEP_COLUMNS`.

        Raises:
            OSError: the disk is full.
        """
        self.steps.row(**row)
        self._events.row("train", row)

    def epoch(self, **row: float) -> None:
        """Records a validation.

        Args:
            row: a value for each of `EPOCH_COLUMNS`.

        Raises:
            OSError: the disk is full.
        """
        self.epochs.row(**row)
        self._events.row("validation", row)

    def sync(self) -> tuple[int, int, int]:
        """Brings all rows to the disk.

        Returns:
            What a checkpoint keeps of the files: the rows of steps.csv and of epochs.csv, and the
            bytes of the event file.
        """
        self.steps.sync()
        self.epochs.sync()
        return len(self.steps.rows), len(self.epochs.rows), self._events.sync()

    def losses(self, epoch: int) -> list[float]:
        """Returns the losses of the steps of an epoch so far.

        Args:
            epoch: the number of the epoch, from 1.
        """
        return [row["loss"] for row in self.steps.rows if row["epoch"] == epoch]

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
