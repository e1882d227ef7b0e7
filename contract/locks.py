"""One process at a time."""

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, TypeVar

POLL_SECONDS = 1.0

Result = TypeVar("Result")


@contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Waits for its turn, saying that it waits for `what`. The lock is a file, `path`, that stays;
    the kernel releases it when this process, its workers and the trainer that it started have
    ended, however they did."""
    with _locked(path, what) as file:
        # For a child that inherits what may be inherited, as the trainer does.
        os.set_inheritable(file.fileno(), True)
        yield


def _locked(path: Path, what: str) -> TextIO:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("w")
        except FileNotFoundError:  # the folder was removed since
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for {what} in another process", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        # One that was removed since it was opened locks nobody out.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


@contextmanager
def machine_lock(name: str, what: str) -> Iterator[None]:
    """Waits for its turn among all processes of this machine, whatever their user and repository,
    saying that it waits for `what`. The lock is `machine_locked`'s."""
    with wait_for(lambda: machine_locked(name), what):
        yield


def machine_locked(name: str) -> socket.socket | None:
    """A lock of the whole machine, or None while another process has it. The kernel releases it
    when it is closed here and in every process that inherited it, however they end.

    It is an address in Linux's abstract namespace, not a file: in /tmp a file may be removed while
    it is locked, or belong to another user, and a job may have a /tmp of its own.
    """
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0{name}")
    except OSError as error:
        held.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return held


def wait_for(attempt: Callable[[], Result | None], what: str) -> Result:
    """Calls `attempt` until it returns something, saying once that it waits for `what`."""
    told = False
    while (result := attempt()) is None:
        if not told:
            told = True
            print(f"waiting for {what}", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
    return result
