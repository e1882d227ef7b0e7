"""The records that a training writes as it goes.

These are a row of a CSV file per step and per validation, and the same numbers for TensorBoard.
"""

from __future__ import annotations

import io
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from contract.layout import EPOCHS, STEPS
from contract.records import EPOCH_COLUMNS, STEP_COLUMNS, GrowingFile, Table

# TensorBoard recognises its files by the second word of their names.
EVENTS = "tensorboard/events.out.tfevents.svoice"
FILES = (STEPS, EPOCHS, EVENTS)


class Events(GrowingFile):
    """Scalars in a file that TensorBoard reads.

    They are written record by record. TensorBoard's own writer is of no use here: it writes in a
    thread, which lags behind the CSV files when a process dies, it starts a new file with every
    process, and it writes the name of the host.

    Args:
        path: the file.
        size: the number of bytes to continue after; 0 begins a new file.

    Raises:
        InputError: as for `GrowingFile`.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        super().__init__(path, size)
        if not size:
            self._event(file_version="brain.Event:2")

    def scalars(self, group: str, step: int, values: dict[str, float]) -> None:
        """Appends numbers.

        Args:
            group: the first part of their tags, `<group>/<name>`.
            step: the optimizer step that they belong to.
            values: the numbers, by name.
        """
        summary = Summary(
            value=[
                Summary.Value(tag=f"{group}/{name}", simple_value=value)
                for name, value in values.items()
            ]
        )
        self._event(step=step, summary=summary)

    def _event(self, **content: Any) -> None:
        record = io.BytesIO()
        event = Event(wall_time=time.time(), **content)
        RecordWriter(record).write(event.SerializeToString())
        self.append(record.getvalue())


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
        self._scalars("train", row, STEP_COLUMNS)

    def epoch(self, **row: float) -> None:
        """Records a validation.

        Args:
            row: a value for each of `EPOCH_COLUMNS`.

        Raises:
            OSError: the disk is full.
        """
        self.epochs.row(**row)
        self._scalars("validation", row, EPOCH_COLUMNS)

    def _scalars(self, group: str, row: dict[str, float], columns: tuple[str, ...]) -> None:
        values = {name: row[name] for name in columns if name not in ("step", "epoch")}
        self._events.scalars(group, int(row["step"]), values)

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
