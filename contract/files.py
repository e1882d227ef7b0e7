"""Files and folders that a reader finds complete or not at all.

Everything is written beside its place under a temporary name and then renamed, so that a process
that dies leaves the older version. An error of the disk names the file that is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from contract.errors import naming


def temporary(path: Path) -> Path:
    """Returns the name under which the next version of `path` is written.

    It is in the same folder, so that the renaming never leaves the file system.
    """
    return path.with_name(f".{path.name}.tmp")


def write_all(file: BinaryIO, data: bytes) -> None:
    """Writes all bytes to an unbuffered file, which may take them in pieces.

    The files are unbuffered because Python would try again, as it closes a file, to write what did
    not fit on a full disk.

    Args:
        file: the file.
        data: the bytes.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def writing(path: Path, mode: str = "wb", shown: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a large file to write to, directly under its name, and names it in errors.

    Args:
        path: the file.
        mode: as for `open`.
        shown: the name that errors show instead, if the caller will rename the file to it.
    """
    try:
        with path.open(mode) as stream:
            yield stream
    except OSError as error:
        error.filename = str(shown or path)
        raise


@contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Yields a temporary path for each target, where the block makes a file or a folder.

    When the block succeeds, all of them take the places of their targets. When it fails, or when
    one of them cannot be renamed, none does, and the older versions stay.

    Args:
        targets: files and folders, whether they exist or not.
    """
    new_versions = [temporary(path) for path in targets]
    old_versions = [path.with_name(f".{path.name}.old") for path in targets]
    try:
        for target, new in zip(targets, new_versions, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove(new)  # the leftover of a process that died
        yield new_versions
        if len(targets) == 1 and new_versions[0].is_file():
            # A single file is replaced in one step: there is no moment without it.
            new_versions[0].replace(targets[0])
            return
        with ExitStack() as undo:
            for target, new, old in zip(targets, new_versions, old_versions, strict=True):
                remove(old)
                if target.exists():
                    target.rename(old)
                    undo.callback(os.replace, old, target)
                new.rename(target)
                undo.callback(remove, target)
            undo.pop_all()
    finally:
        for path in (*new_versions, *old_versions):
            remove(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` when the block succeeds.

    When the block fails, the new folder is removed, and an older `path` stays as it was.
    """
    with replacing(path) as (folder,):
        folder.mkdir()
        yield folder


def write(path: Path, data: str | bytes) -> None:
    """Writes a file in one step. When that fails, an older one stays as it was.

    Args:
        path: the file.
        data: its contents; text is written as UTF-8.
    """
    write_together({path: data})


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Writes several files: all of them or, when one cannot be written, none.

    Args:
        contents: the contents of each file; text is written as UTF-8.
    """
    with replacing(*contents) as new_versions:
        for new, (path, data) in zip(new_versions, contents.items(), strict=True):
            with naming(path), new.open("wb", buffering=0) as file:
                write_all(file, data.encode() if isinstance(data, str) else data)
                os.fsync(file.fileno())


def write_shared(path: Path, data: str | bytes) -> None:
    """Writes a file in one step, also if other processes write it at the same time.

    Each process has a temporary file of its own, whose name is random: processes on two machines
    may have the same number. The last one's file stays. Unlike `write`, this does not wait for the
    disk, so that a power cut may leave a file that is cut short.

    Args:
        path: the file; its folder is made if it is missing.
        data: its contents; text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with naming(path), own.open("wb", buffering=0) as file:
            write_all(file, data.encode() if isinstance(data, str) else data)
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)


def json_text(content: Any) -> str:
    """Returns the text of a JSON file.

    Args:
        content: what `json.dumps` takes.
    """
    return json.dumps(content, indent=2) + "\n"


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def adopt(folder: Path, path: Path) -> None:
    """Moves a finished folder to `path`, from this file system or another.

    Until the end an older `path` stays as it was. When this fails or is killed, `folder` is still
    there.

    Args:
        folder: the finished folder.
        path: its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_dev == path.parent.stat().st_dev:
        if path.exists():
            shutil.rmtree(path)
        folder.rename(path)
        return
    with new_folder(path) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    shutil.rmtree(folder)


def remove(path: Path) -> None:
    """Removes a file, or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def empty(folder: Path) -> None:
    """Removes everything in a folder, but not the folder."""
    for path in folder.iterdir():
        remove(path)
