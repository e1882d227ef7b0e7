"""The folder that all nodes see, and what the cells of a study leave there.

Below it are `cache/`, DVC's cache of all cells, `durations/`, how long their stages took, and for
each commit of which studies have run a folder: `code/`, a clone from which the jobs run; `cells/`,
a folder for each experiment; and `submissions/`, the scripts and the numbers of the jobs.

Files are written in one step by one process each, so that nothing depends on locks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contract.files import remove, write
from contract.layout import SCRATCH
from stages.durations import FOLDER
from studies.revisions import last_lines
from studies.states import DONE


@dataclass(frozen=True)
class Cell:
    """An experiment of a study, as its array task needs it.

    Attributes:
        name: of the experiment.
        settings: all of them, in Hydra's grammar.
        targets: the stages that it runs; all if there are none.
        commit: what it starts from.
        repository: the repository that gets the result.
        requeues: how often it starts again at most.
    """

    name: str
    settings: list[str]
    targets: list[str]
    commit: str
    repository: str
    requeues: int


@dataclass(frozen=True)
class Outcome:
    """How a cell has ended.

    Attributes:
        state: `done` or `failed`.
        reason: why it failed, in words.
    """

    state: str
    reason: str = ""


class CellFolder:
    """The folder of a cell.

    Args:
        path: the folder, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clone = path / "clone"
        self.scratch = path / SCRATCH
        self.log = path / "log.txt"
        self._cell = path / "cell.json"
        self._outcome = path / "outcome.json"
        self._starts = path / "starts.txt"

    def read(self) -> Cell | None:
        """Returns the cell; None if there is none."""
        values = _read(self._cell)
        return None if values is None else Cell(**values)

    def outcome(self) -> Outcome | None:
        """Returns how the cell has ended; None if it has not, or is no cell yet."""
        values = _read(self._outcome)
        return None if values is None else Outcome(**values)

    def renew(self, cell: Cell) -> None:
        """Prepares the folder for a start of the cell.

        What an earlier start of the same cell has left unfinished stays; that of another one goes.

        Args:
            cell: the cell.
        """
        earlier = self.read()
        if earlier is not None and _without_limits(earlier) != _without_limits(cell):
            remove(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._outcome.unlink(missing_ok=True)
        self._starts.unlink(missing_ok=True)
        write(self._cell, json.dumps(asdict(cell)))

    def start(self, where: str) -> int:
        """Notes that the cell starts, and returns how often it has since it was submitted.

        Args:
            where: the job and the node, in words.
        """
        with self._starts.open("a") as file:
            file.write(f"{where}\n")
        return len(self._starts.read_text().splitlines())

    def end(self, outcome: Outcome) -> None:
        """Notes how the cell has ended. One that is done leaves nothing but its log."""
        write(self._outcome, json.dumps(asdict(outcome)))
        if outcome.state == DONE:
            keep_durations(self.scratch, self.path.parents[2] / FOLDER)
            remove(self.clone)
            remove(self.scratch)

    def last_lines(self) -> str:
        """Returns the end of the cell's log; an empty text if it has none."""
        return last_lines(self.log)


@dataclass(frozen=True)
class Submission:
    """What was submitted at one time.

    Attributes:
        folder: its scripts and logs.
        cells: the names of the array's cells, in the order of its tasks.
        prepare: the number of the job that prepares; None if all was prepared.
        array: the number of the array.
    """

    folder: Path
    cells: list[str]
    prepare: int | None
    array: int

    def keep(self) -> None:
        """Writes it into its folder."""
        values = {"cells": self.cells, "prepare": self.prepare, "array": self.array}
        write(self.folder / "jobs.json", json.dumps(values))


class CommitFolder:
    """The folder of one commit.

    Args:
        shared: the folder that all nodes see.
        commit: its hash.
    """

    def __init__(self, shared: Path, commit: str) -> None:
        self.path = shared / commit[:12]
        self.cache = shared / "cache"
        self.durations = shared / FOLDER
        self.environments = shared / "environments"
        self.code = self.path / "code"
        self._submissions = self.path / "submissions"
        self._prepared = self.path / "prepared.json"

    def cell(self, name: str) -> CellFolder:
        """Returns the folder of a cell."""
        return CellFolder(self.path / "cells" / name)

    def prepared(self) -> list[list[str]]:
        """Returns what has been prepared: lists of settings and stages."""
        return _read(self._prepared) or []

    def add_prepared(self, work: Sequence[str]) -> None:
        """Notes that some settings and stages have been prepared."""
        write(self._prepared, json.dumps([*self.prepared(), list(work)]))

    def new_submission(self) -> Path:
        """Makes a folder for a submission, and returns it."""
        folder = self.next_submission()
        folder.mkdir(parents=True)
        return folder

    def next_submission(self) -> Path:
        """Returns the folder that the next submission will have."""
        number = 1 + max((int(path.name) for path in self._submissions.glob("*")), default=0)
        return self._submissions / str(number)

    def submissions(self) -> list[Submission]:
        """Returns what was submitted, the oldest first."""
        folders = sorted(self._submissions.glob("*"), key=lambda path: int(path.name))
        kept = [(folder, _read(folder / "jobs.json")) for folder in folders]
        return [Submission(folder, **values) for folder, values in kept if values is not None]


def keep_durations(scratch: Path, kept: Path) -> None:
    """Adds the times of stages to those that the next forecast is made from.

    Args:
        scratch: the scratch folder in which they ran.
        kept: the folder of the times.
    """
    kept.mkdir(exist_ok=True)
    for path in (scratch / FOLDER).glob("*.json"):
        write(kept / path.name, path.read_bytes())


def _without_limits(cell: Cell) -> dict[str, Any]:
    """Returns what determines the result of a cell."""
    return {key: value for key, value in asdict(cell).items() if key != "requeues"}


def _read(path: Path) -> Any:
    """Returns what a JSON file holds; None if it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
