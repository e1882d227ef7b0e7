"""The processes behind DVC's queue: its workers, and the experiments that lost theirs.

To DVC, an experiment is `Running` from the moment that a worker takes it until that worker reports
how it ended. DVC never hears of a worker that was killed, and asking the workers does not help:
they answer through files that they read while others write them, so that a worker under load often
stays silent. Here, an experiment runs if a living process of a worker has it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from dvc.exceptions import DvcException
from dvc.repo.experiments.executor.base import ExecutorInfo
from dvc.repo.experiments.queue.base import QueueEntry
from dvc.repo.experiments.queue.celery import LocalCeleryQueue
from dvc_task.proc.process import ProcessInfo

from studies.queue_messages import QueuedExperiment

# A worker's log: the banner that it starts with, and what it says about its tasks.
_BANNER = re.compile(r"^ -+ dvc-exp-\S+ v")
_TASK = re.compile(r"Task dvc\.repo\.experiments\.queue\.tasks\.run_exp\[([0-9a-f-]+)\] (\w+)(.*)")
LOG_BYTES = 65536  # of a worker's log, in which its latest task stands
KILL_SECONDS = 30  # seconds after which an interrupted process that still runs is killed


def living_workers(queue: LocalCeleryQueue) -> dict[psutil.Process, str | None]:
    """Returns the living workers of this repository.

    Returns:
        The id of the task that each worker says it has, or None, by its process.
    """
    node = re.compile(rf"dvc-exp-{_repository_hash(queue)}-(\d+)@")
    workers = {}
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        numbers = [match[1] for part in command if (match := node.match(part))]
        if numbers and "queue-worker" in command:
            workers[process] = _current_task(_worker_log(queue, numbers[0]))
    return workers


def orphans(
    queue: LocalCeleryQueue,
    running: Sequence[QueuedExperiment],
    workers: Mapping[psutil.Process, str | None],
) -> list[QueuedExperiment]:
    """Returns the running experiments that no living worker has.

    A worker logs an experiment a moment after it has taken it: until then the experiment is among
    these.

    Args:
        queue: DVC's experiment queue.
        running: the experiments that DVC calls `Running`.
        workers: as `living_workers` has returned them after that.
    """
    tasks = set(workers.values())
    numbers = {worker.pid for worker in workers}
    return [
        experiment
        for experiment in running
        if experiment.task not in tasks and not _parents(queue, experiment.entry) & numbers
    ]


def setup_error(queue: LocalCeleryQueue, entry: QueueEntry) -> str | None:
    """Returns why an experiment failed before it had a process, as its worker's log says.

    If it had a process, whose own log says why it failed, this is None.

    Args:
        queue: DVC's experiment queue.
        entry: the experiment's entry in that queue.
    """
    if queue.proc.get(entry.stash_rev) is not None:
        return None
    tasks = [
        message.headers["id"]
        for message, processed in queue._iter_processed()
        if processed.stash_rev == entry.stash_rev
    ]
    for log in Path(queue.wdir).glob("dvc-exp-worker-*.out"):
        for match in map(_TASK.search, log.read_text(errors="replace").splitlines()):
            if match and match[1] in tasks and match[2] == "raised":
                return match[3].strip().removeprefix("unexpected: ")
    return "its worker has logged no reason"


def interrupt(queue: LocalCeleryQueue, entry: QueueEntry, interrupted: set[psutil.Process]) -> None:
    """Sends Ctrl-C to the processes of an experiment, once to each.

    Args:
        queue: DVC's experiment queue.
        entry: the experiment's entry in that queue.
        interrupted: the processes that have got it already, to which these are added.
    """
    for process in processes(queue, entry) - interrupted:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
        interrupted.add(process)


def end(queue: LocalCeleryQueue, entry: QueueEntry) -> None:
    """Ends the processes of an experiment by Ctrl-C; those that ignore it are killed.

    Args:
        queue: DVC's experiment queue.
        entry: the experiment's entry in that queue.
    """
    interrupted: set[psutil.Process] = set()
    deadline = time.monotonic() + KILL_SECONDS
    while running := processes(queue, entry):
        interrupt(queue, entry, interrupted)
        if time.monotonic() > deadline:
            kill(running)
        psutil.wait_procs(running, timeout=1)


def mark_as_failed(queue: LocalCeleryQueue, experiment: QueuedExperiment, reason: str) -> None:
    """Ends what a dead worker left behind of an experiment and records in DVC that it failed.

    Args:
        queue: DVC's experiment queue.
        experiment: the one that lost its worker.
        reason: a line that is added to the experiment's log.
    """
    entry = experiment.entry
    end(queue, entry)
    info = _executor_info(queue, entry)
    # DVC would take an experiment whose information holds a result for a successful one, and could
    # not read its queue any more if that file was cut short, as by a power cut.
    Path(queue.get_infofile_path(entry.stash_rev)).unlink(missing_ok=True)
    if info is not None:
        shutil.rmtree(info.root_dir, ignore_errors=True)
    # DVC cannot remove an experiment that was taken and is still in its stash.
    queue.get_stash_entry(queue.repo.experiments, entry)
    queue.stash_failed(entry)
    log_reason(queue, entry, reason)
    queue.celery.backend.mark_as_failure(experiment.task, None)


def log_reason(queue: LocalCeleryQueue, entry: QueueEntry, reason: str) -> None:
    """Adds a line to an experiment's log, which `dvc queue logs` shows, or starts the log.

    Args:
        queue: DVC's experiment queue.
        entry: the experiment's entry in that queue.
        reason: the line.
    """
    folder = Path(queue.proc.wdir) / entry.stash_rev
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{entry.stash_rev}.out"
    with log.open("a") as stream:
        stream.write(f"ERROR: {reason}\n")
    info = queue.proc.get(entry.stash_rev) or ProcessInfo(0, None, str(log), None, None)
    info.returncode = info.returncode or -1
    queue.proc[entry.stash_rev] = info


def processes(queue: LocalCeleryQueue, entry: QueueEntry) -> set[psutil.Process]:
    """Returns the processes of an experiment.

    These are DVC's own process, those of stages in its temporary workspace, and all that these have
    started.

    Args:
        queue: DVC's experiment queue.
        entry: the experiment's entry in that queue.
    """
    infofile = queue.get_infofile_path(entry.stash_rev)
    info = _executor_info(queue, entry)
    workspace = Path(info.root_dir) if info else None
    members: set[psutil.Process] = set()
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if infofile in (process.info["cmdline"] or []) or _is_stage_in(workspace, process):
            members |= {process, *_children(process)}
    return members


def start(queue: LocalCeleryQueue, count: int) -> None:
    """Starts workers until `count` of them live.

    `dvc queue start` asks the others first, and starts a second worker of the same name if one
    stays silent.

    Args:
        queue: DVC's experiment queue.
        count: how many are wanted.
    """
    node = f"dvc-exp-{_repository_hash(queue)}-{{}}@localhost"
    names = {part for worker in living_workers(queue) for part in worker.info["cmdline"]}
    free = (number for number in itertools.count(1) if node.format(number) not in names)
    for number in itertools.islice(free, max(0, count - len(living_workers(queue)))):
        command = ["dvc", "exp", "queue-worker", node.format(number)]
        if number == 1:
            command.append("--clean")  # the first worker clears the workers' messages away
        with _worker_log(queue, number).open("ab") as log:
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def stop(workers: Collection[psutil.Process]) -> None:
    """Asks workers to end as soon as they have nothing to do."""
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.terminate()


def kill(processes: Collection[psutil.Process]) -> None:
    """Kills processes; those that have ended are ignored."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _repository_hash(queue: LocalCeleryQueue) -> str:
    """Returns the hash that DVC puts into the names of a repository's workers."""
    return hashlib.sha256(queue.wdir.encode("utf-8")).hexdigest()[:6]


def _worker_log(queue: LocalCeleryQueue, number: int | str) -> Path:
    return Path(queue.wdir) / f"dvc-exp-worker-{number}.out"


def _current_task(log: Path) -> str | None:
    """Returns the task that a worker's log says it has taken and not ended.

    Its last lines say so, unless there are very many of another kind.
    """
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            for start in dict.fromkeys((max(0, size - LOG_BYTES), 0)):
                stream.seek(start)
                lines = stream.read().decode(errors="replace").splitlines()
                for line in reversed(lines[1:] if start else lines):
                    if _BANNER.match(line):
                        return None
                    if match := _TASK.search(line):
                        return match[1] if match[2] == "received" else None
    except FileNotFoundError:
        pass
    return None


def _parents(queue: LocalCeleryQueue, entry: QueueEntry) -> set[int]:
    """Returns the numbers of the processes that have started those of an experiment."""
    numbers = set()
    for process in processes(queue, entry):
        with suppress(psutil.NoSuchProcess):
            numbers.add(process.ppid())
    return numbers


def _executor_info(queue: LocalCeleryQueue, entry: QueueEntry) -> ExecutorInfo | None:
    """Returns what DVC notes about a running experiment.

    It is None while the experiment is being set up, and if its file was cut short.
    """
    try:
        return ExecutorInfo.load_json(queue.get_infofile_path(entry.stash_rev))
    except (FileNotFoundError, ValueError, DvcException):
        return None


def _is_stage_in(workspace: Path | None, process: psutil.Process) -> bool:
    """Returns whether a stage of DVC in this workspace has started a process, not a user there."""
    if not workspace or not Path(process.info["cwd"] or "/").is_relative_to(workspace):
        return False
    try:
        return "DVC_STAGE" in process.environ()
    except psutil.Error:
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
