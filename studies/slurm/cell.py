"""cell: runs one experiment of a study as a task of Slurm's array.

`python -m studies.slurm.cell FOLDER` is what the batch script becomes. It runs the experiment in a
clone of the cell's own, which stays until the result has reached the repository of the study, so
that the next start goes on where this one ends: after a time limit, a preemption or the death of a
node.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil
from dvc.repo.experiments.refs import ExpRefInfo

from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.files import write
from studies.slurm import client
from studies.slurm.folder import Cell, CellFolder, CommitFolder, Outcome
from studies.slurm.workspaces import clone, git, run_stages
from studies.states import DONE, FAILED

BEAT_SECONDS = 5  # from one sign of life of a start to the next
SILENT_SECONDS = 20  # without a sign of life, after which a start is dead
PUSH_SECONDS = 1800  # for which it is tried to push a result
REPEAT_SECONDS = 10  # from one signal to the stages to the next
LONGEST_PAUSE = 60  # seconds between two tries
OUTLIVED = 75  # the exit code of a start whose cell runs elsewhere


def main() -> None:
    """Runs the cell that the command line names. A cell that fails ends with 1."""
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the cell")
    folder = CellFolder(parser.parse_args().folder)
    cell = folder.read()
    if cell is None:
        raise InputError(folder.path, "there is no cell", "repeat the command of the study")
    job, start = _job(), _Start()
    print(f"{_now()}: {job} starts {cell.name} on {socket.gethostname()}", flush=True)
    starts = folder.start(f"{_now()} {job} {socket.gethostname()}")
    if starts > cell.requeues + 1:
        outcome = Outcome(FAILED, f"it has not ended after {starts - 1} starts")
    else:
        with _SignsOfLife(folder.path, f"{job} {os.getpid()} {socket.gethostname()} {_now()}"):
            outcome = _run(cell, folder, start)
    if outcome is None:
        print(f"{_now()}: {start.why}; what is done so far is kept", flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if start.at_limit:  # else Slurm has put the job back into the queue, or the user ends it
            client.requeue(job)
            signal.pause()  # until Slurm ends this start
        sys.exit(128 + signal.SIGTERM)
    folder.end(outcome)
    print(f"{_now()}: {outcome.state} {outcome.reason}".rstrip(), flush=True)
    sys.exit(0 if outcome.state == DONE else 1)


class _Start:
    """What Slurm asks of this start.

    Attributes:
        why: why it has to end, in words; empty as long as it need not.
        at_limit: whether the reason is the time limit.
    """

    def __init__(self) -> None:
        self.why, self.at_limit = "", False
        self._process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGUSR2, self._asked)
        signal.signal(signal.SIGTERM, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.at_limit = self.at_limit or number == signal.SIGUSR2
        self.why = "the time limit is near" if self.at_limit else "Slurm ends this start"
        self._pass_on()

    def follow(self, process: subprocess.Popen[bytes]) -> int:
        """Waits for the end of what DVC runs, to which a signal is passed on.

        Args:
            process: as from `run_stages`.

        Returns:
            Its exit code.
        """
        self._process = process
        while True:
            if self.why:
                self._pass_on()
            with suppress(subprocess.TimeoutExpired):
                # Between two stages nothing would notice the signal: it is repeated.
                return process.wait(timeout=REPEAT_SECONDS)

    def _pass_on(self) -> None:
        """Lets what DVC runs save its work and end."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)


class _SignsOfLife:
    """Shows that a start lives, and lets none of them work beside another.

    A node that is cut off from Slurm goes on, while its cell starts on another one. The new start
    waits until the older one gives no more sign of life; the older one ends when it sees that it is
    no longer the owner. Nothing depends on the clocks of the nodes.

    Args:
        folder: that of the cell.
        owner: what tells this start from all others.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self._owner_file, self._beats = folder / "owner.txt", folder / "beats.txt"
        self._owner = owner
        self._ended = threading.Event()

    def __enter__(self) -> None:
        write(self._owner_file, self._owner)
        previous, since = _text(self._beats), time.monotonic()
        while previous and time.monotonic() - since < SILENT_SECONDS:
            time.sleep(0.5)
            if (now := _text(self._beats)) != previous:
                previous, since = now, time.monotonic()
        threading.Thread(target=self._beat, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beats.unlink(missing_ok=True)

    def _beat(self) -> None:
        number = 0
        while not self._ended.wait(BEAT_SECONDS if number else 0):
            if _text(self._owner_file) != self._owner:
                print(f"{_now()}: this cell has started elsewhere", flush=True)
                _kill_children()
                os._exit(OUTLIVED)
            number += 1
            if not self._ended.is_set():
                write(self._beats, f"{self._owner} {number}")


def _run(cell: Cell, folder: CellFolder, start: _Start) -> Outcome | None:
    """Runs a cell and pushes its result.

    Args:
        cell: the cell.
        folder: its folder.
        start: what Slurm asks of this start.

    Returns:
        How it has ended; None if Slurm has asked this start to end before.
    """
    if start.why:
        return None
    of_commit = CommitFolder(folder.path.parents[2], cell.commit)
    ref = str(ExpRefInfo(cell.commit, cell.name))
    try:
        if not _has_ref(folder.clone, ref):
            clone(Path(cell.repository), cell.commit, folder.clone, of_commit)
            process = run_stages(
                folder.clone, cell.name, cell.settings, cell.targets, folder.scratch
            )
            code = start.follow(process)
            if start.why and not _has_ref(folder.clone, ref):
                return None
            if code != 0:
                return Outcome(FAILED, f"DVC has ended with exit code {code}")
        return _push(cell, folder.clone, ref, start)
    except InputError as error:
        return None if start.why else Outcome(FAILED, str(error))


def _push(cell: Cell, workspace: Path, ref: str, start: _Start) -> Outcome | None:
    """Pushes the result of a cell to the repository of the study, which may be away for a while.

    Args:
        cell: the cell.
        workspace: its clone.
        ref: the experiment's.
        start: what Slurm asks of this start.
    """
    began, pause = time.monotonic(), 1.0
    while True:
        try:
            # With force: an earlier result of this cell, which has to be replaced, may be there.
            git(workspace, "push", "--quiet", "--force", cell.repository, f"{ref}:{ref}")
            return Outcome(DONE)
        except InputError as error:
            if time.monotonic() - began > PUSH_SECONDS:
                problem = f"the result cannot be pushed ({error.args[1]})"
                return Outcome(FAILED, f"{problem}; it is kept, and the same command pushes it")
            print(f"{_now()}: {error}; trying again in {pause:.0f} s", flush=True)
        if start.why:
            return None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _has_ref(workspace: Path, ref: str) -> bool:
    """Returns whether a clone has a ref; not if there is no clone."""
    command: Sequence[str] = ["git", "show-ref", "--verify", "--quiet", ref]
    return (workspace / ".git").is_dir() and (
        subprocess.run(command, cwd=workspace, capture_output=True).returncode == 0
    )


def _job() -> str:
    """Returns the number of this job, with that of the task if it is one of an array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "0")


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _text(path: Path) -> str:
    """Returns what a file holds; an empty text if it is not there."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _kill_children() -> None:
    """Kills what this process has started, with all that came of it."""
    for child in psutil.Process().children(recursive=True):
        child.kill()


if __name__ == "__main__":
    one_line(main)()
