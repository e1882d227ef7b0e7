"""Checks names of files and folders before any work is done whose results are named after them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from contract.errors import BadFilesError, InputError

# What the lists and the one-line messages cannot hold, by Unicode's category of the character.
_PROBLEMS = {
    "Cc": "its name holds a control character",
    "Cs": "its name is not UTF-8",  # Python decodes such a byte to a surrogate
    "Zl": "its name holds a line separator",
    "Zp": "its name holds a paragraph separator",
}


def check_names(paths: Iterable[Path], suffix: str = "") -> None:
    """Checks the last part of each path, with `name_error`.

    Args:
        paths: the user's files or folders.
        suffix: what is appended to their names in the names of results, such as `.json`.

    Raises:
        BadFilesError: some names are too long, not UTF-8, or have more than one line.
    """
    errors = [error for path in paths if (error := name_error(path, path.name, suffix))]
    if errors:
        raise BadFilesError(errors)


def name_error(where: object, name: str, suffix: str = "") -> InputError | None:
    """Returns what is wrong with a name for a file in the working directory, or None.

    Args:
        where: what the error names; it may hold the name.
        name: the name.
        suffix: what is appended to the name in the names of results.
    """
    for character in name:
        if problem := _PROBLEMS.get(unicodedata.category(character)):
            return InputError(repr(str(where)), problem, "rename it")
    size, limit = len(os.fsencode(name)), longest_name() - len(suffix)
    if size > limit:
        reason = f", as files named after it end in {suffix}" if suffix else ""
        problem = f"its name has {size} bytes, and at most {limit} are possible{reason}"
        return InputError(where, problem, "shorten it")
    return None


def longest_name() -> int:
    """Returns how many bytes a file's name may have in the working directory, mostly 255."""
    return os.pathconf(Path.cwd(), "PC_NAME_MAX")


def too_long_error(path: str) -> InputError:
    """Returns the error for a path of which the system says "File name too long".

    It says whether a name in the path or the path as a whole is too long, and by how much.

    Args:
        path: the path that the system refuses.
    """
    limit = longest_name()
    for part in Path(path).parts:
        if (size := len(os.fsencode(part))) > limit:
            problem = f"a name in this path has {size} bytes, and at most {limit} are possible"
            return InputError(path, problem, "shorten it")
    size = len(os.fsencode(path))
    limit = os.pathconf(Path.cwd(), "PC_PATH_MAX") - 1  # the system counts the byte that ends it
    problem = f"this path has {size} bytes, and at most {limit} are possible"
    return InputError(path, problem, "shorten it")
