"""Writing large files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def writing(path: Path, mode: str = "wb", shown: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a file to write to. A full disk's error names it, which the system's does not.

    Args:
        shown: the name to tell instead, if the file is renamed to it later.
    """
    try:
        with path.open(mode) as stream:
            yield stream
    except OSError as error:
        error.filename = str(shown or path)
        raise
