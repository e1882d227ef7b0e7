"""What DVC's queue holds, read so often that each message of it is read only once.

DVC keeps a file for each experiment that was ever queued. Asked for those that have ended, it reads
all files again for each of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from dvc.exceptions import DvcException
from dvc.repo.experiments.queue.base import QueueEntry
from dvc.repo.experiments.queue.celery import LocalCeleryQueue
from dvc.repo.experiments.queue.tasks import run_exp
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

# In this order a later experiment of a name comes after the earlier ones that it replaces.
STATES = ("done", "failed", "queued", "running")


class QueuedExperiment(NamedTuple):
    """An experiment that is, or was, in DVC's queue.

    Attributes:
        task: the id of Celery's task.
        entry: an entry of DVC's experiment queue.
        state: one of `STATES`.
    """

    task: str
    entry: QueueEntry
    state: str


class QueueReader:
    """Reads DVC's queue again and again, at a cost that hardly grows with what has ended."""

    def __init__(self) -> None:
        # The task of each file; None if it is no experiment's. A file keeps its name when a worker
        # takes the message and moves it.
        self._tasks: dict[str, tuple[str, QueueEntry] | None] = {}
        self._ended: dict[str, str | None] = {}  # the state of each task that has ended

    def read(self, queue: LocalCeleryQueue) -> list[QueuedExperiment]:
        """Returns all experiments in the queue, in the order of `STATES`.

        Args:
            queue: DVC's experiment queue.

        Raises:
            DvcException: an experiment that has succeeded has no result.
            OSError, ValueError: a file cannot be read, for example while it is being written.
        """
        folders = queue.celery.conf.broker_transport_options
        # What is taken between the two is in both, and active.
        waiting = self._read_folder(queue, Path(folders["data_folder_in"]))
        taken = self._read_folder(queue, Path(folders["processed_folder"]))
        experiments = [
            QueuedExperiment(task, entry, "queued")
            for file, (task, entry) in waiting.items()
            if file not in taken
        ]
        for task, entry in taken.values():
            if state := self._state(queue, task, entry):
                experiments.append(QueuedExperiment(task, entry, state))
        return sorted(experiments, key=lambda experiment: STATES.index(experiment.state))

    def _read_folder(
        self, queue: LocalCeleryQueue, folder: Path
    ) -> dict[str, tuple[str, QueueEntry]]:
        """Returns the task and the entry of each message in a folder, by its file, the oldest
        first."""
        files = sorted(os.listdir(folder))
        if new := [file for file in files if file not in self._tasks]:
            self._tasks |= _read_messages(queue, folder, new)
        return {file: task for file in files if (task := self._tasks.get(file))}

    def _state(self, queue: LocalCeleryQueue, task: str, entry: QueueEntry) -> str | None:
        """Returns the state of a task that a worker has taken.

        It is None if the experiment has ended without a result of its own, which DVC calls neither
        successful nor failed.
        """
        if task in self._ended:
            return self._ended[task]
        result = queue.celery.AsyncResult(task)
        if not result.ready():
            return "running"
        try:
            outcome = queue._load_info(entry.stash_rev).result
        except (FileNotFoundError, ValueError, DvcException):
            if result.successful():
                raise DvcException(f"experiment {entry.stash_rev[:7]} has no result") from None
            # DVC's process was ended while it wrote the file. As long as the file is there, DVC
            # itself cannot read its queue.
            Path(queue.get_infofile_path(entry.stash_rev)).unlink(missing_ok=True)
            outcome = None
        if outcome is None:
            self._ended[task] = "failed"
        else:
            self._ended[task] = "done" if outcome.exp_hash and outcome.ref_info else None
        return self._ended[task]


def _read_messages(
    queue: LocalCeleryQueue, folder: Path, files: Iterable[str]
) -> dict[str, tuple[str, QueueEntry] | None]:
    """Returns the task and the entry of each message; without those that are gone or empty yet."""
    tasks: dict[str, tuple[str, QueueEntry] | None] = {}
    with queue.celery.connection_for_read() as connection, connection.channel() as channel:
        for file in files:
            try:
                payload = (folder / file).read_bytes()
            except FileNotFoundError:
                continue
            if not payload:
                continue
            message: Any = channel.Message(loads(bytes_to_str(payload)), channel=channel)
            if message.headers.get("task") != run_exp.name:
                tasks[file] = None
                continue
            arguments, named, _ = message.decode()
            entry = QueueEntry.from_dict(named.get("entry_dict", arguments[0]))
            tasks[file] = message.headers["id"], entry
    return tasks
