"""Files and folders that a reader finds complete or not at all.

They are written beside their places under temporary names and then renamed, so that a process that
dies leaves the older version of each, or the new one. An older folder is set aside for a moment, as
`.NAME.old`; if the process dies in that moment, the next one that writes the folder puts it back
first. `writing` alone opens a file under its own name: its callers rename the file, or the folder
that it is in. An error of the disk names the file or the folder that is written, and not its
temporary name, unless that is too long.
"""

from __future__ import annotations

import errno
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

    Args:
        path: a file or a folder, whether it exists or not.
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

    Raises:
        OSError: the file cannot be opened, or the block cannot write to it.
    """
    try:
        with path.open(mode) as stream:
            yield stream
    except OSError as error:
        error.filename = str(shown or path)
        raise


@contextmanager
def _naming_targets(targets: Mapping[Path, Path]) -> Iterator[None]:
    """Puts the name of the target in an `OSError` about its temporary file or folder.

    Args:
        targets: what each temporary path is renamed to.
    """
    try:
        yield
    except OSError as error:
        # The error about a temporary name that is too long states its length.
        if isinstance(error.filename, str) and error.errno != errno.ENAMETOOLONG:
            path = Path(error.filename)
            for new, target in targets.items():
                if path.is_relative_to(new):
                    error.filename = str(target / path.relative_to(new))
                    error.filename2 = None  # what it is renamed to
        raise


def _set_aside(target: Path) -> Path:
    """Returns where the older version of a target is while the new one takes its place."""
    return target.with_name(f".{target.name}.old")


def _rename_back(path: Path, place: Path) -> None:
    if path.exists():
        path.rename(place)


def _recover(target: Path) -> None:
    """Puts the older version back that a process set aside before it died."""
    if not target.exists():
        _rename_back(_set_aside(target), target)


def _take_place(new: Path, target: Path, undo: ExitStack) -> None:
    """Renames `new` to `target`, whose older version is set aside.

    Args:
        new: the new version, on the same file system.
        target: its place, after `_recover`.
        undo: receives, before each renaming, what undoes it, because a signal may arrive directly
            after it.
    """
    old = _set_aside(target)
    remove(old)
    undo.callback(_rename_back, old, target)
    if target.exists():
        target.rename(old)
    undo.callback(_rename_back, target, new)
    new.rename(target)


@contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Yields a temporary path for each target, where the block makes a file or a folder.

    When the block succeeds, all of them take the places of their targets. When it fails, or when
    one of them cannot be renamed, none does, and the older versions stay.

    Args:
        targets: files and folders, whether they exist or not.

    Yields:
        A path for each target, in their order, at which there is nothing.

    Raises:
        OSError: one of them cannot be made or renamed.
    """
    new_versions = [temporary(path) for path in targets]
    with _naming_targets(dict(zip(new_versions, targets, strict=True))):
        try:
            for target, new in zip(targets, new_versions, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                remove(new)  # the leftover of a process that died
                _recover(target)
            yield new_versions
            if len(targets) == 1 and new_versions[0].is_file():
                # A single file is replaced in one step: there is no moment without it.
                new_versions[0].replace(targets[0])
            else:
                with ExitStack() as undo:
                    for target, new in zip(targets, new_versions, strict=True):
                        _take_place(new, target, undo)
                    undo.pop_all()
            for target in targets:
                remove(_set_aside(target))
        finally:
            for new in new_versions:
                remove(new)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` when the block succeeds.

    When the block fails, the new folder is removed, and an older `path` stays as it was.

    Args:
        path: the folder, whether it exists or not.

    Raises:
        OSError: it cannot be made or renamed.
    """
    with replacing(path) as (folder,):
        folder.mkdir()
        yield folder


def write(path: Path, data: str | bytes) -> None:
    """Writes a file in one step. When that fails, an older one stays as it was.

    Args:
        path: the file.
        data: its contents; text is written as UTF-8.

    Raises:
        OSError: it cannot be written.
    """
    write_together({path: data})


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Writes several files: all of them or, when one cannot be written, none.

    Args:
        contents: the contents of each file; text is written as UTF-8.

    Raises:
        OSError: a file cannot be written.
    """
    with replacing(*contents) as new_versions:
        for new, data in zip(new_versions, contents.values(), strict=True):
            write_new(new, data)


def write_new(new: Path, data: str | bytes) -> None:
    """Writes one of the temporary files of `replacing`, and waits until it is on the disk.

    Args:
        new: the temporary file.
        data: its contents; text is written as UTF-8.
    """
    with naming(new), new.open("wb", buffering=0) as file:
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

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with _naming_targets({own: path}):
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


def sources_sha256(*packages: Path) -> str:
    """Returns the SHA-256 of the Python code of packages, in hexadecimal digits.

    Args:
        packages: the folders of the packages. Folders in them are left out.

    Raises:
        OSError: a module cannot be read.
    """
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(package.glob("*.py")):
            digest.update(f"{package.name}/{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()


def adopt(folder: Path, path: Path) -> None:
    """Moves a finished folder to `path`, from this file system or another.

    An older `path` stays until the end, as in `replacing`. When this fails or is killed before the
    end, `folder` is still there.

    Args:
        folder: the finished folder.
        path: its place.

    Raises:
        OSError: it cannot be moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_dev == path.parent.stat().st_dev:
        _recover(path)
        with ExitStack() as undo:
            _take_place(folder, path, undo)
            undo.pop_all()
        remove(_set_aside(path))
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
