"""Slurm's commands, as far as a study needs them. None of them needs Slurm's accounting."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from contract.errors import InputError

COMMANDS = ("sbatch", "squeue", "scontrol", "sinfo", "scancel")
# What Slurm's commands say while its controller is away or overloaded, and for how many seconds
# they are repeated. A submission is not: it may have arrived.
AWAY = re.compile(
    "contact slurm controller|[Ss]ocket|Zero Bytes|[Cc]onnection|timed out|temporarily"
)
PATIENCE = 300
PAUSE = 2
# How `squeue` names the states in which a job waits. In all others it has nodes.
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}


class Task(NamedTuple):
    """A job, or one task of an array, that Slurm has not ended.

    Attributes:
        job: the number of the job or the array.
        index: the number of the task in the array; None if the job is no array.
        waiting: whether it has no nodes.
        reason: why it waits, in Slurm's words.
    """

    job: int
    index: int | None
    waiting: bool
    reason: str


def check_commands() -> None:
    """Refuses a machine without Slurm's commands.

    Raises:
        InputError: one of them is missing.
    """
    missing = [command for command in COMMANDS if not shutil.which(command)]
    if missing:
        problem = f"{', '.join(missing)}: there is no such command here"
        remedy = "run this on a login node of the cluster, or leave ENGINE out"
        raise InputError("ENGINE", problem, remedy)


def check_partition(name: str) -> None:
    """Refuses a partition that the cluster does not have.

    Raises:
        InputError: there is no such partition, or Slurm does not answer.
    """
    listed = _run(["sinfo", "--noheader", "--format=%R"]).split()
    if name not in listed:
        names = ", ".join(sorted(set(listed)))
        problem = f"there is no partition {name!r}"
        raise InputError("ENGINE, partition", problem, f"the cluster has {names}")


def hosts() -> set[str]:
    """Returns the hosts of all nodes, by the names that they have themselves.

    Raises:
        InputError: Slurm does not answer.
    """
    listing = _run(["scontrol", "--oneliner", "show", "nodes"])
    return set(re.findall(r"\bNodeHostName=(\S+)", listing))


def largest_array() -> int:
    """Returns how many tasks an array may have at most.

    Raises:
        InputError: Slurm does not answer.
    """
    configuration = _run(["scontrol", "show", "config"])
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", configuration, re.MULTILINE)
    return int(match[1]) if match else 1000  # one less than Slurm's own default


def check_script(script: Path) -> None:
    """Lets Slurm check a batch script without submitting it.

    Raises:
        InputError: Slurm would refuse it.
    """
    _run(["sbatch", "--test-only", str(script)])


def submit(script: Path, after: int | None = None) -> int:
    """Submits a batch script.

    Args:
        script: the script, which holds its options.
        after: the job that has to end well before.

    Returns:
        The number of the job.

    Raises:
        InputError: Slurm refuses it.
    """
    options = [f"--dependency=afterok:{after}"] if after is not None else []
    answer = _run(["sbatch", "--parsable", *options, str(script)], repeat=False)
    return int(answer.strip().partition(";")[0])  # the name of the cluster may follow


def tasks(jobs: Sequence[int]) -> list[Task]:
    """Returns those of some jobs and their tasks that Slurm has not ended.

    Args:
        jobs: the numbers of jobs and arrays, which Slurm may have forgotten.

    Raises:
        InputError: Slurm does not answer.
    """
    if not jobs:
        return []
    # Of jobs that it has forgotten Slurm says nothing only where it is not asked by their numbers.
    listing = _run(
        ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%F|%K|%T|%r"]
    )
    wanted = set(jobs)
    listed = []
    for line in listing.splitlines():
        job, index, state, reason = (part.strip() for part in line.split("|", 3))
        if int(job) in wanted:
            number = int(index) if index.isdigit() else None
            listed.append(Task(int(job), number, state in WAITING, reason))
    return listed


def requeue(job: str) -> None:
    """Puts a running job back into the queue; Slurm then ends what runs of it.

    Args:
        job: its number, with that of the task if it is one of an array: `123_4`.

    Raises:
        InputError: Slurm refuses it.
    """
    _run(["scontrol", "requeue", job])


def cancel(jobs: Sequence[int]) -> None:
    """Ends jobs and arrays; those that have ended already stay as they are."""
    if jobs:
        subprocess.run(["scancel", "--quiet", *map(str, jobs)], capture_output=True)


def _run(command: Sequence[str], repeat: bool = True) -> str:
    """Returns what a command of Slurm prints.

    Args:
        command: the program and its arguments.
        repeat: whether to wait for a controller that is away.

    Raises:
        InputError: it is missing or fails; the message is the last line of what it says.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    # A setting of the user's shell would change what is printed or submitted.
    for name in [name for name in environment if re.match("(SQUEUE|SINFO|SBATCH)_", name)]:
        del environment[name]
    began, is_first = time.monotonic(), True
    while True:
        try:
            process = subprocess.run(command, env=environment, capture_output=True, text=True)
        except FileNotFoundError:
            check_commands()
            raise
        if process.returncode == 0:
            return process.stdout
        lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
        said = lines[-1] if lines else f"it ended with exit code {process.returncode}"
        said = re.sub(r"^\w+: (error: )?", "", said)
        if not (repeat and AWAY.search(said)) or time.monotonic() - began > PATIENCE:
            remedy = "correct conf/engine, or ask those who run the cluster"
            raise InputError(command[0], said, remedy)
        if is_first:
            print(f"{command[0]}: {said}; trying again", file=sys.stderr, flush=True)
        is_first = False
        time.sleep(PAUSE)
