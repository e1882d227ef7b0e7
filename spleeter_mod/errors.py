"""Errors that the user can mend: one line on stderr instead of a traceback."""

import errno
import functools
import os
import sys
from contextlib import contextmanager


class InputError(Exception):
    """`where` (a file or a configuration key) holds `found` where `expected` belongs."""

    def __init__(self, where, found, expected):
        super().__init__(f"{where}: found {found}, expected {expected}")


@contextmanager
def naming(path):
    """Give an `OSError` of the block that names no file, such as a write's, the name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def one_line(main):
    """Decorate a command: an `InputError` or `OSError` ends it with one line and exit code 1."""

    @functools.wraps(main)
    def command(*args):
        try:
            main(*args)
        except InputError as error:
            sys.exit(f"ERROR: {error}")
        except OSError as error:
            expected = {
                errno.ENOSPC: "room for it",
                errno.EDQUOT: "room for it",
                errno.ENOENT: "it to exist",
                errno.EACCES: "access to it",
            }.get(error.errno, "it to be readable and writable")
            where = error.filename or main.__module__
            sys.exit(f"ERROR: {where}: found {error.strerror!r}, expected {expected}")
        except KeyboardInterrupt:
            sys.exit(130)

    return command
