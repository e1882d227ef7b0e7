"""The numbers of a training for TensorBoard, which shows them while it runs, beside its tables.

Only the trainers' environments have TensorBoard.
"""

from __future__ import annotations

import io
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from contract.errors import InputError
from contract.layout import TENSORBOARD
from contract.records import GrowingFile, Table

HEADER, FOOTER = struct.calcsize("<QI"), struct.calcsize("<I")  # of a record, in bytes


def events_file(model: str) -> str:
    """Returns the name of a model's file of events, in the folder of its results.

    TensorBoard recognises its files by the second word of their names.

    Args:
        model: `spleeter` or `svoice`.
    """
    return f"{TENSORBOARD}/events.out.tfevents.{model}"


def size_of(path: Path, count: int) -> int:
    """Returns how many bytes the first `count` events of a file take, with the file's header.

    Args:
        path: a file that `Events` has written.
        count: the number of events. Of none, not even the beginning of the file counts.

    Raises:
        InputError: the file has fewer events.
    """
    if not count:
        return 0
    size = path.stat().st_size if path.exists() else 0
    position = 0
    with path.open("rb") if size else io.BytesIO() as file:
        for number in range(count + 1):  # the first record is the version of the format
            file.seek(position)
            header = file.read(HEADER)
            if len(header) == HEADER:
                position += HEADER + struct.unpack("<QI", header)[0] + FOOTER
            if len(header) < HEADER or position > size:
                raise InputError(
                    path,
                    f"has {max(0, number - 1)} events, but the checkpoint was saved after {count}",
                    "remove the folder to begin the training again",
                )
    return position


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

    def row(self, group: str, row: dict[str, float]) -> None:
        """Appends the numbers of a row of steps.csv or epochs.csv.

        Args:
            group: the first part of their tags, `<group>/<name>`.
            row: the row, by column.
        """
        values = {name: row[name] for name in row if name not in ("step", "epoch")}
        self.scalars(group, int(row["step"]), values)


@dataclass
class Records:
    """What a training records as it goes.

    Attributes:
        folder: the folder of the files.
        steps: steps.csv.
        epochs: epochs.csv.
        events: the same numbers for TensorBoard; None in a process that does not write them.
    """

    folder: Path
    steps: Table
    epochs: Table
    events: Events | None

    def step(self, **row: float) -> None:
        """Records an optimizer step.

        Args:
            row: a value for each column of steps.csv.

        Raises:
            OSError: the disk is full.
        """
        self.steps.row(**row)
        if self.events:
            self.events.row("train", row)

    def epoch(self, **row: float) -> None:
        """Records a validation.

        Args:
            row: a value for each column of epochs.csv.

        Raises:
            OSError: the disk is full.
        """
        self.epochs.row(**row)
        if self.events:
            self.events.row("validation", row)

    def sync(self) -> tuple[int, int, int]:
        """Brings all rows to the disk.

        Returns:
            What a checkpoint may keep of the files: the rows of steps.csv and of epochs.csv, and
            the bytes of the file of events, which are 0 without it.
        """
        self.steps.sync()
        self.epochs.sync()
        size = self.events.sync() if self.events else 0
        return len(self.steps.rows), len(self.epochs.rows), size
