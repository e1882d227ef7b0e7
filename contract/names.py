"""Names that are given to files and folders, and what is named after them."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from contract.errors import BadFilesError, InputError

UNWRITABLE = {  # Unicode's categories of what lists and messages of one line cannot hold
    "Cc": "a control character in the name",
    "Cs": "a name that is no UTF-8",
    "Zl": "a line separator in the name",
    "Zp": "a paragraph separator in the name",
}


def check_names(paths: Iterable[Path], added: str = "") -> None:
    """Checks the last part of each path, before work is done whose results are named after it.

    Args:
        paths: of files or folders that the user gives.
        added: what is appended to the name of something that is named after it, as `.json`.

    Raises:
        BadFilesError: names that are too long for this, no UTF-8, or of more than one line.
    """
    errors = [error for path in paths if (error := name_error(path, path.name, added))]
    if errors:
        raise BadFilesError(errors)


def name_error(where, name: str, added: str = "") -> InputError | None:
    """What is wrong with a name for a file in the working directory; `added` as in `check_names`.

    Args:
        where: what the error names; it may hold the name.
    """
    for character in name:
        if found := UNWRITABLE.get(unicodedata.category(character)):
            return InputError.mismatch(repr(str(where)), found, "one line of UTF-8")
    size, most = len(os.fsencode(name)), longest_name() - len(added)
    if size > most:
        after = f", for the files named after it end in {added}" if added else ""
        return InputError.mismatch(where, f"a name of {size} bytes", f"at most {most}{after}")
    return None


def longest_name() -> int:
    """How many bytes a file's name may have in the working directory: mostly 255."""
    return os.pathconf(Path.cwd(), "PC_NAME_MAX")


def too_long(path: str) -> InputError:
    """The system's "File name too long" as a line that says which part is, and by how much."""
    most = longest_name()
    for part in Path(path).parts:
        if (size := len(os.fsencode(part))) > most:
            return InputError.mismatch(path, f"a name of {size} bytes", f"at most {most}")
    size, most = len(os.fsencode(path)), os.pathconf(Path.cwd(), "PC_PATH_MAX")
    return InputError.mismatch(path, f"a path of {size} bytes", f"fewer than {most}")
