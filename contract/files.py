"""Files and folders that a reader finds whole or not at all.

Everything is written beside its place under a temporary name and then renamed, so that a process
that dies leaves the older version. An error of the disk names the file that is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from contract.errors import naming


def temporary(path: Path) -> Path:
    """Returns the name under which the next version of `path` is written, in the same folder: a
    rename never leaves the file system."""
    return path.with_name(f".{path.name}.tmp")


def write_all(file: BinaryIO, data: bytes) -> None:
    """Writes all bytes to an unbuffered file, which may take them in pieces.

    Files are unbuffered here because Python writes again, when it closes a file, what it could not
    write to a full disk.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def writing(path: Path, mode: str = "wb", shown: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a large file to write to, under a name that the caller chooses.

    Args:
        path: the file.
        mode: as for `open`.
        shown: the name that errors show instead, if the file is renamed to it later.
    """
    try:
        with path.open(mode) as stream:
            yield stream
    except OSError as error:
        error.filename = str(shown or path)
        raise


@contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Yields a temporary path for each target, a file or a folder that the block makes there.

    When the block succeeds, all of them take their targets' places. When it fails, or one of them
    cannot be renamed, none does and the older versions stay.
    """
    made = [temporary(path) for path in targets]
    olds = [path.with_name(f".{path.name}.old") for path in targets]
    try:
        for target, leftover in zip(targets, made, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove(leftover)
        yield made
        if len(targets) == 1 and made[0].is_file():
            made[0].replace(targets[0])  # at once: there is no moment without the file
            return
        with ExitStack() as undo:
            for target, new, old in zip(targets, made, olds, strict=True):
                remove(old)
                if target.exists():
                    target.rename(old)
                    undo.callback(os.replace, old, target)
                new.rename(target)
                undo.callback(remove, target)
            undo.pop_all()
    finally:
        for leftover in (*made, *olds):
            remove(leftover)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` when the block succeeds.

    When it fails, the new folder is removed and an older `path` stays as it was.
    """
    with replacing(path) as (folder,):
        folder.mkdir()
        yield folder


def write(path: Path, data: str | bytes) -> None:
    """Writes a file at once; when that fails, an older one stays as it was."""
    write_together({path: data})


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Writes several files: all of them or, when one cannot be written, none.

    Args:
        contents: what each file will hold; text is written as UTF-8.
    """
    with replacing(*contents) as made:
        for new, (path, data) in zip(made, contents.items(), strict=True):
            with naming(path), new.open("wb", buffering=0) as file:
                write_all(file, data.encode() if isinstance(data, str) else data)
                os.fsync(file.fileno())


def adopt(folder: Path, path: Path) -> None:
    """Turns a finished folder into `path`, from wherever it was made.

    Until then an older `path` stays as it was. When this fails or is killed, `folder` is still
    there.
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
    """Removes a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def empty(folder: Path) -> None:
    """Removes all that is in a folder."""
    for path in folder.iterdir():
        remove(path)
