"""Errors that the user can correct.

Each ends a command with one line on stderr and exit code 1.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO


class InputError(Exception):
    """Something outside the code is wrong. The message is one line, `where: problem; remedy`.

    Args:
        where: the file, or the key of the configuration.
        problem: what is wrong with it.
        remedy: what to do about it; empty if the problem says that already.
    """

    def __init__(self, where: object, problem: object, remedy: str = "") -> None:
        # The arguments are kept as they are, because an exception that leaves a worker process is
        # built again from them.
        super().__init__(where, problem, remedy)

    @classmethod
    def mismatch(cls, where: object, value: object, expected: object) -> InputError:
        """Returns the error for a value that is not allowed, `where: found X, expected Y`.

        Args:
            where: the file, or the key of the configuration.
            value: what was found.
            expected: what is allowed, in words.
        """
        return cls(where, f"found {value}, expected {expected}")

    def __str__(self) -> str:
        where, problem, remedy = self.args
        message = f"{where}: {problem}; {remedy}" if remedy else f"{where}: {problem}"
        return " ".join(message.splitlines())


class BadFilesError(InputError):
    """Several bad files: one line for each of the first ten, and the number of the others.

    Args:
        errors: at least one, in the order in which they are shown.
    """

    def __init__(self, errors: list[InputError]) -> None:
        Exception.__init__(self, errors)

    def __str__(self) -> str:
        (errors,) = self.args
        return "\nERROR: ".join(first_ten(errors))


def alternatives(names: Sequence[str]) -> str:
    """Joins names of which any will do, as in `a, b or c`.

    Args:
        names: at least one.
    """
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def first_ten(errors: list[InputError]) -> list[str]:
    """Returns a line for each of the first ten errors, and one that counts the others.

    Args:
        errors: in the order in which they are shown.
    """
    lines = [str(error) for error in errors[:10]]
    return [*lines, f"and {len(errors) - 10} more"] if len(errors) > 10 else lines


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Adds the name `path` to an `OSError` of the block that names no file.

    Python names no file when writing to an open one fails, as on a full disk.

    Args:
        path: the file that the block writes.

    Raises:
        OSError: the block raised it.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


_REMEDIES = {
    errno.ENOSPC: "make room on its disk and repeat the command",
    errno.EDQUOT: "make room within your disk quota and repeat the command",
    errno.ENOENT: "create it, or name one that exists",
    errno.EACCES: "allow this user to read and write it",
    errno.EROFS: "its file system is read-only: name a place that can be written to",
}


def system_error(error: OSError) -> InputError:
    """Returns an error of the system about a file as an error for the user.

    Args:
        error: the error, which names the file.
    """
    where = os.fsdecode(error.filename)
    if error.errno == errno.ENAMETOOLONG:
        from contract.names import too_long_error  # that module needs this one

        return too_long_error(where)
    reason = (error.strerror or str(error)).lower()
    return InputError(where, reason, _REMEDIES.get(error.errno or 0, ""))


def _has_lost_its_reader(stream: TextIO) -> bool:
    try:
        poll = select.poll()
        poll.register(stream, 0)
    except io.UnsupportedOperation:  # a stream in memory
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def one_line(main: Callable[..., object]) -> Callable[..., None]:
    """Decorates a command so that bad input ends it with one line on stderr and exit code 1.

    Bad input is an `InputError`, an `OSError` about a file, or a full disk. Anything else is a
    fault of the code and keeps its traceback. Ctrl-C ends the command with exit code 130, and the
    end of what reads its output, as in `command | head -1`, with 141.

    Args:
        main: the command's function.
    """

    @functools.wraps(main)
    def command(*args: Any) -> None:
        try:
            main(*args)
            sys.stdout.flush()
        except InputError as error:
            sys.exit(f"ERROR: {error}")
        except BrokenPipeError:
            if not _has_lost_its_reader(sys.stdout):
                raise
            # Python flushes the output once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except OSError as error:
            if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT):
                error.filename = os.getcwd()
            if error.filename is None:
                raise
            sys.exit(f"ERROR: {system_error(error)}")
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)

    return command
