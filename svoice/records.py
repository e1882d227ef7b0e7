"""The records that a training writes as it goes.

These are a row of a CSV file per step and per validation, and the same numbers for TensorBoard.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from contract import events
from contract.events import Events, events_file
from contract.layout import EPOCHS, STEPS
from contract.menu import SVOICE
from contract.records import EPOCH_COLUMNS, STEP_COLUMNS, Table

EVENTS = events_file(SVOICE)
FILES = (STEPS, EPOCHS, EVENTS)


class Records(events.Records):
    """The files `FILES` in a folder.

    Args:
        folder: the folder.
        state: what `sync` has returned, to continue from there; None begins new files.

    Raises:
        InputError: another process writes to the files, or they are shorter than `state` says.
    """

    def __init__(self, folder: Path, state: tuple[int, int, int] | None = None) -> None:
        steps, epochs, size = state or (0, 0, 0)
        with ExitStack() as opened:
            super().__init__(
                folder,
                opened.enter_context(Table(folder / STEPS, STEP_COLUMNS, steps)),
                opened.enter_context(Table(folder / EPOCHS, EPOCH_COLUMNS, epochs)),
                opened.enter_context(Events(folder / EVENTS, size)),
            )
            self._opened = opened.pop_all()

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
