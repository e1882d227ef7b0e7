"""Locks, so that one process at a time does something.

While a process waits for another, it says so on stderr.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TextIO, TypeVar

POLL_SECONDS = 1.0
# What `flock` fails with on a file system without locks: NFS and Lustre, depending on how they are
# mounted (ENOLCK, ENOSYS), and others.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

Result = TypeVar("Result")


@contextmanager
def lock(path: Path, purpose: str) -> Iterator[None]:
    """Holds a lock during the block, after waiting for its turn.

    The kernel releases the lock when this process, its workers and the trainer that it started have
    ended, however they did. On a file system without locks the block runs without one.

    Args:
        path: the lock's file, which stays.
        purpose: what the process waits for, in words.
    """
    with _lock_file(path, purpose) as file:
        # The trainer, which inherits what may be inherited, holds the lock as well.
        os.set_inheritable(file.fileno(), True)
        yield


def _lock_file(path: Path, purpose: str) -> TextIO:
    """Returns the lock's file, open and locked."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("w")
        except FileNotFoundError:  # another process has removed the folder since
            continue
        if not try_lock(file):
            print(f"waiting for {purpose} in another process", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        # A file that was removed after it was opened locks nobody out.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def try_lock(file: IO) -> bool:
    """Locks an open file, unless another process has locked it.

    The kernel releases the lock when the file is closed in this process and in all that inherited
    it, however they end. Some file systems of clusters have no locks; there the file stays
    unlocked, and whoever starts several processes gives each a folder of its own.

    Args:
        file: the file.

    Returns:
        False if another process has locked it.

    Raises:
        OSError: the file system fails.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    return True


@contextmanager
def machine_lock(name: str, purpose: str) -> Iterator[None]:
    """Holds a lock of the whole machine during the block, after waiting for its turn.

    It locks out all processes of the machine, whatever their user and repository.

    Args:
        name: the name of the lock.
        purpose: what the process waits for, in words.
    """
    with wait_for(lambda: try_machine_lock(name), purpose):
        yield


def try_machine_lock(name: str) -> socket.socket | None:
    """Returns a lock of the whole machine, or None while another process has it.

    The kernel releases it when it is closed in this process and in all that inherited it, however
    they end.

    It is an address in Linux's abstract namespace and not a file: a file in /tmp may be removed
    while it is locked, or belong to another user, and a job may have a /tmp of its own.

    Args:
        name: the name of the lock.
    """
    address = socket.socket(socket.AF_UNIX)
    try:
        address.bind(f"\0{name}")
    except OSError as error:
        address.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return address


def wait_for(attempt: Callable[[], Result | None], purpose: str) -> Result:
    """Repeats an attempt until it succeeds, and says once that it waits.

    Args:
        attempt: returns None if it failed.
        purpose: what the process waits for, in words.

    Returns:
        The first result that is not None.
    """
    announced = False
    while (result := attempt()) is None:
        if not announced:
            announced = True
            print(f"waiting for {purpose}", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
    return result
