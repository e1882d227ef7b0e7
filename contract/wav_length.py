"""Checks that a WAV file was not cut short."""

from __future__ import annotations

from pathlib import Path

from contract.errors import InputError


def check_complete(path: Path, remedy: str) -> None:
    """Checks that a WAV file is as long as its RIFF header says.

    libsndfile would read a file that was cut short as a shorter one, without an error. A file of
    another format passes.

    Args:
        path: the file.
        remedy: what to do about a file that was cut short, for the error.

    Raises:
        InputError: the file is shorter.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(8)
        size = file.seek(0, 2)
    if header[:4] == b"RIFF" and len(header) == 8:
        expected = 8 + int.from_bytes(header[4:], "little")
        if size < expected:
            problem = f"is cut short: it has {size} bytes and its header says {expected}"
            raise InputError(path, problem, remedy)
