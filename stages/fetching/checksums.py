"""Lists of checksums, in the format of sha256sum and md5sum."""

from __future__ import annotations

import hashlib
from pathlib import Path

from contract.errors import InputError
from contract.files import sha256


def read_checksums(text: str) -> dict[str, str]:
    """Returns the checksum of every file in a list, by file name, in the list's order.

    Lines that do not look like `checksum  name` are ignored.

    Args:
        text: the content of the list.
    """
    pairs = (line.split(maxsplit=1) for line in text.splitlines())
    return {pair[1].removeprefix("*"): pair[0] for pair in pairs if len(pair) == 2}


def check_sha256(where: str | Path, content: bytes, expected: str) -> None:
    """Checks that a file has the content that its checksum promises.

    Args:
        where: the file's name in the error.
        content: what the file holds.
        expected: the SHA-256 checksum, as hexadecimal digits.

    Raises:
        InputError: the content has another checksum.
    """
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != expected:
        raise wrong_checksum(where, f"sha256:{checksum}", f"sha256:{expected}")


def wrong_checksum(where: str | Path, checksum: str, expected: str) -> InputError:
    """Returns the error of a file that is damaged, or is another file than the one expected.

    Args:
        where: the name of the file in the error.
        checksum: the one that it has.
        expected: the one that it should have.
    """
    return InputError(
        where,
        f"has the checksum {checksum}, not {expected}",
        "get another copy, or correct the checksum",
    )


def list_sha256(folder: Path) -> str:
    """Returns the list of the SHA-256 checksums of all files below a folder, sorted by name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in paths)
