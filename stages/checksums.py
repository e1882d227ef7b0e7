"""Lists of checksums, in the format of sha256sum and md5sum."""

import hashlib
from pathlib import Path

from metrics.errors import InputError


def read_checksums(text: str) -> dict[str, str]:
    """File name → checksum, in the list's order. Lines unlike `checksum  name` are left out."""
    pairs = (line.split(maxsplit=1) for line in text.splitlines())
    return {pair[1].removeprefix("*"): pair[0] for pair in pairs if len(pair) == 2}


def check_sha256(where, content: bytes, sha256: str) -> None:
    """Compares the content of a file with what it should be.

    Raises:
        InputError: it is another; `where` names it.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(where, f"sha256 {found}", sha256)


def list_sha256(folder: Path) -> str:
    """The list of every file below a folder, sorted by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return "".join(
        f"{sha256}  {path.relative_to(folder)}\n" for sha256, path in zip(sums, files, strict=True)
    )
