"""The processes behind DVC's queue: its workers, and the experiments that lost theirs.

To DVC, an experiment is `Running` from the moment that a worker takes it until that worker says how
it ended. Of a worker that was killed it never hears, and the workers can't be asked: they answer
through files that they read while others write them, so that one under load often stays silent.
Here, an experiment runs if a living process of a worker has it.
"""

import hashlib
import itertools
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from dvc.exceptions import DvcException
from dvc.repo.experiments.executor.base import ExecutorInfo
from dvc.repo.experiments.queue.base import QueueEntry
from dvc.repo.experiments.queue.celery import LocalCeleryQueue
from dvc_task.proc.process import ProcessInfo

# What a worker logs of its tasks, and the banner that it starts with.
_STARTED = re.compile(r"^ -+ dvc-exp-\S+ v")
_TASK = re.compile(r"Task dvc\.repo\.experiments\.queue\.tasks\.run_exp\[([0-9a-f-]+)\] (\w+)(.*)")
KILL_SECONDS = 30  # that an interrupted process has to end by itself


class Taken(NamedTuple):
    """An experiment that a worker took and that has not ended."""

    task: str  # Celery's id
    entry: QueueEntry


def taken(queue: LocalCeleryQueue) -> list[Taken]:
    """What DVC calls `Running`."""
    return [Taken(result.id, entry) for result, entry in queue._iter_active_tasks()]


def alive(queue: LocalCeleryQueue) -> dict[psutil.Process, str | None]:
    """The living workers of this repository, each with the id of the task that it says it has."""
    node = re.compile(rf"dvc-exp-{_hash(queue)}-(\d+)@")
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        numbers = [match[1] for part in command if (match := node.match(part))]
        if numbers and "queue-worker" in command:
            found[process] = _task_in(Path(queue.wdir) / f"dvc-exp-worker-{numbers[0]}.out")
    return found


def without_worker(queue: LocalCeleryQueue) -> list[Taken]:
    """The experiments that no living worker has. Between taking one and logging it, a worker has it
    for a moment unseen."""
    active = taken(queue)
    if not active:
        return []
    living = alive(queue)
    held = set(living.values())
    return [
        each
        for each in active
        if each.task not in held
        and not _parents(queue, each.entry) & {worker.pid for worker in living}
    ]


def setup_error(queue: LocalCeleryQueue, entry: QueueEntry) -> str | None:
    """Why an experiment failed before it had a process, from the log of its worker; None if it had
    one, whose own log says why it failed."""
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


def interrupt(queue: LocalCeleryQueue, entry: QueueEntry, told: set[psutil.Process]) -> None:
    """Sends Ctrl-C to what runs of an experiment, but to no process of `told`, and adds to it."""
    for process in processes(queue, entry) - told:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
        told.add(process)


def end(queue: LocalCeleryQueue, entry: QueueEntry) -> None:
    """Ends all that runs of an experiment: by Ctrl-C, so that it can put its things in order; what
    does not heed it is killed."""
    told: set[psutil.Process] = set()
    until = time.monotonic() + KILL_SECONDS
    while running := processes(queue, entry):
        interrupt(queue, entry, told)
        if time.monotonic() > until:
            for process in running:
                _kill(process)
        psutil.wait_procs(running, timeout=1)


def bury(queue: LocalCeleryQueue, lost: Taken, reason: str) -> None:
    """Ends what a worker left behind of an experiment, and has DVC know that it failed.

    Args:
        reason: a line at the end of the experiment's log.
    """
    end(queue, lost.entry)
    info = _info(queue, lost.entry)
    if info is not None:
        # With a result in there, DVC would take it for one that came to a good end.
        Path(queue.get_infofile_path(lost.entry.stash_rev)).unlink()
        shutil.rmtree(info.root_dir, ignore_errors=True)
    # DVC removes no experiment that was taken and is still in its stash.
    queue.get_stash_entry(queue.repo.experiments, lost.entry)
    queue.stash_failed(lost.entry)
    log_reason(queue, lost.entry, reason)
    queue.celery.backend.mark_as_failure(lost.task, None)


def log_reason(queue: LocalCeleryQueue, entry: QueueEntry, reason: str) -> None:
    """Adds a line to what `dvc queue logs` shows of an experiment, also of one without a log."""
    folder = Path(queue.proc.wdir) / entry.stash_rev
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{entry.stash_rev}.out"
    with log.open("a") as stream:
        stream.write(f"ERROR: {reason}\n")
    info = queue.proc.get(entry.stash_rev) or ProcessInfo(0, None, str(log), None, None)
    info.returncode = info.returncode or -1
    queue.proc[entry.stash_rev] = info


def processes(queue: LocalCeleryQueue, entry: QueueEntry) -> set[psutil.Process]:
    """DVC's process of an experiment, all that work in its temporary workspace, and all that these
    have started."""
    infofile = queue.get_infofile_path(entry.stash_rev)
    info = _info(queue, entry)
    workspace = Path(info.root_dir) if info else None
    found = set()
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if infofile in (process.info["cmdline"] or []) or _stage_in(workspace, process):
            found |= {process, *_children(process)}
    return found


def start(queue: LocalCeleryQueue, count: int) -> None:
    """Starts workers until `count` of them live, as `dvc queue start` does: that asks the others
    first, and starts a second one of the same name where one stays silent."""
    node = f"dvc-exp-{_hash(queue)}-{{}}@localhost"
    names = {part for worker in alive(queue) for part in worker.info["cmdline"]}
    free = (number for number in itertools.count(1) if node.format(number) not in names)
    for number in itertools.islice(free, max(0, count - len(alive(queue)))):
        command = ["dvc", "exp", "queue-worker", node.format(number)]
        if number == 1:
            command.append("--clean")  # the first clears the workers' messages away
        with (Path(queue.wdir) / f"dvc-exp-worker-{number}.out").open("ab") as log:
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def stop(workers: Collection[psutil.Process]) -> None:
    """Has workers end as soon as they have nothing to do."""
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.terminate()


def kill(workers: Collection[psutil.Process]) -> None:
    for worker in workers:
        _kill(worker)


def _hash(queue: LocalCeleryQueue) -> str:
    """By which DVC names the workers of a repository."""
    return hashlib.sha256(queue.wdir.encode("utf-8")).hexdigest()[:6]


def _task_in(log: Path) -> str | None:
    """The task that the log of a worker says it has taken and not ended."""
    task = None
    for line in _lines(log):
        if _STARTED.match(line):
            task = None
        elif match := _TASK.search(line):
            task = match[1] if match[2] == "received" else None
    return task


def _lines(log: Path) -> Iterator[str]:
    try:
        with log.open(errors="replace") as stream:
            yield from stream
    except FileNotFoundError:
        return


def _parents(queue: LocalCeleryQueue, entry: QueueEntry) -> set[int]:
    """Of the experiment's processes."""
    found = set()
    for process in processes(queue, entry):
        with suppress(psutil.NoSuchProcess):
            found.add(process.ppid())
    return found


def _info(queue: LocalCeleryQueue, entry: QueueEntry) -> ExecutorInfo | None:
    try:
        return ExecutorInfo.load_json(queue.get_infofile_path(entry.stash_rev))
    except (FileNotFoundError, ValueError, DvcException):  # it is being set up
        return None


def _stage_in(workspace: Path | None, process: psutil.Process) -> bool:
    """Whether DVC's stage there has started it, not a user who looks around."""
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


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()
