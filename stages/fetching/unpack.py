"""Unpacks zip and tar archives safely.

Nothing is written outside the target folder, damaged members are refused, and an interrupted call
resumes at the next one.
"""

from __future__ import annotations

import ctypes
import errno
import lzma
import os
import re
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from contract.errors import InputError
from contract.files import writing
from stages.fetching.progress import ByteProgress

BLOCK = 2**20  # bytes that are read at a time
UNFINISHED = ".unpacking.partial"  # the member being written, in the target folder
ANOTHER_COPY = "get another copy of it"
ANOTHER_ARCHIVE = "use another archive: this one is not safe to unpack"

# What the libraries raise for damaged archives.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    UnicodeError,
)
# What the system raises for names that it cannot hold, or not beside the other members' names.
_IMPOSSIBLE_NAME = (
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOTEMPTY,
)


def unpack(archive: Path, target: Path, consume: bool = False) -> None:
    """Unpacks a zip or tar archive, compressed or not, into the folder `target`.

    A member gets its name once it is complete, so an interrupted call resumes: members that are
    there are kept if they have the right size and, in a zip, the right CRC. Only the content of
    files is unpacked, without owners, modes and times; links and devices are refused.

    Args:
        archive: the archive.
        target: the folder; it is made if it is not there.
        consume: frees a zip's room on the disk member by member, where the file system can do so.
            The archive is then good only for resuming in the same folder.

    Raises:
        InputError: the archive is damaged, or has a member that would be written outside `target`,
            that is neither file nor folder, that is encrypted, or that occurs twice.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _damage_as_input_error(archive):
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, target, consume)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, target)
        else:
            raise InputError(
                archive, "is neither a zip nor a tar archive, or is cut short", ANOTHER_COPY
            )


def _unpack_zip(archive: Path, target: Path, consume: bool) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = sorted(opened.infolist(), key=lambda member: member.header_offset)
        checker = _NameChecker(archive)
        paths = [target / checker.check(member.filename) for member in members]
        for member in members:
            _require_plain(archive, member)
        # Where each member's bytes end in the archive: where the next one's begin.
        ends = [*(member.header_offset for member in members[1:]), opened.start_dir]
        size = sum(member.file_size for member in members)
        with (
            ByteProgress(f"unpacking {archive.name}", size) as progress,
            _room_freer(archive, consume) as free_room,
        ):
            for member, path, end in zip(members, paths, ends, strict=True):
                if member.is_dir():
                    _make_folder(archive, path, member.filename)
                elif _is_unpacked(path, member):
                    progress.add(member.file_size)
                else:
                    with opened.open(member) as source:
                        _write(archive, source, target, path, progress.add, consume)
                free_room(member.header_offset, end - member.header_offset)


def _unpack_tar(archive: Path, target: Path) -> None:
    checker = _NameChecker(archive)
    size = archive.stat().st_size
    paths = []
    with (
        archive.open("rb") as raw,
        tarfile.open(fileobj=raw, tarinfo=_Member) as opened,
        ByteProgress(f"unpacking {archive.name}", size) as progress,
    ):
        position = 0
        try:
            for member in opened:
                path = target / checker.check(member.name, is_folder=member.isdir())
                if member.isdir():
                    _make_folder(archive, path, member.name)
                elif not member.isreg():
                    raise _not_plain(archive, member.name)
                else:
                    paths.append(path)
                    if not _has_size(path, member.size):
                        source = opened.extractfile(member)
                        _write(archive, source, target, path, lambda _: None, sync=False)
                progress.add(raw.tell() - position)
                position = raw.tell()
            # The checksum of a compressed tar is at its end.
            while opened.fileobj.read(BLOCK):
                pass
        except Exception as error:
            if _is_damage(error):
                # The one checksum does not tell which of the members is damaged.
                for path in paths:
                    path.unlink(missing_ok=True)
            raise


class _Member(tarfile.TarInfo):
    """A tar member that raises an error where the next header is damaged.

    tarfile itself takes a damaged header for the end of the archive.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # the regular end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


class _NameChecker:
    """Checks that every member's name stays inside the target and occurs once."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._seen: set[PurePosixPath] = set()

    def check(self, name: str, is_folder: bool | None = None) -> PurePosixPath:
        """Returns a member's path relative to the target.

        Args:
            name: as the archive has it.
            is_folder: None means that folders' names end in a slash, as in a zip.

        Raises:
            InputError: the name leaves the target, or is another file's as well.
        """
        path = PurePosixPath(name)
        leaves = path.is_absolute() or ".." in path.parts
        if leaves or "\\" in name or "\0" in name or re.match("[A-Za-z]:", name):
            problem = f"has the member {name!r}, whose name leaves the folder"
            raise InputError(self._archive, problem, ANOTHER_ARCHIVE)
        if is_folder is None:
            is_folder = name.endswith("/")
        if is_folder:
            return path
        if path in self._seen or not path.parts:
            raise InputError(self._archive, f"has the member {name!r} twice", ANOTHER_ARCHIVE)
        self._seen.add(path)
        return path


def _require_plain(archive: Path, member: zipfile.ZipInfo) -> None:
    """Raises InputError for an encrypted member, a link or a device."""
    if member.flag_bits & 1:
        problem = f"has the encrypted member {member.filename!r}"
        raise InputError(archive, problem, "use an archive that opens without a password")
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 if the archive does not state it
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _not_plain(archive, member.filename)


def _not_plain(archive: Path, name: str) -> InputError:
    problem = f"has the member {name!r}, which is neither a file nor a folder"
    return InputError(archive, problem, ANOTHER_ARCHIVE)


def _has_size(path: Path, size: int) -> bool:
    # Unlike Path.is_file, os.path.isfile is false for names that the system cannot hold.
    return os.path.isfile(path) and path.stat().st_size == size


def _is_unpacked(path: Path, member: zipfile.ZipInfo) -> bool:
    """Returns whether a member is there with the right size and CRC."""
    if not _has_size(path, member.file_size):
        return False
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc == member.CRC


def _write(
    archive: Path,
    source: BinaryIO,
    target: Path,
    path: Path,
    report: Callable[[int], None],
    sync: bool,
) -> None:
    """Copies a member out of the archive.

    Args:
        archive: the archive, for errors.
        source: the member's content.
        target: the folder that the archive is unpacked into.
        path: the member's path.
        report: is called with the number of bytes of each block.
        sync: waits until the member is on the disk.
    """
    _make_folder(archive, path.parent, str(path.relative_to(target)))
    unfinished = target / UNFINISHED
    try:
        with writing(unfinished, shown=path) as stream:
            while block := source.read(BLOCK):
                stream.write(block)
                report(len(block))
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        with _name_as_input_error(archive, str(path.relative_to(target))):
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _make_folder(archive: Path, path: Path, name: str) -> None:
    with _name_as_input_error(archive, name):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def _name_as_input_error(archive: Path, name: str) -> Iterator[None]:
    """Raises InputError where the system cannot hold the name of the member `name`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _IMPOSSIBLE_NAME:
            raise
        reason = os.strerror(error.errno).lower()
        problem = f"has the member {name!r}, which cannot be written ({reason})"
        raise InputError(archive, problem, "use an archive with other names") from None


@contextmanager
def _damage_as_input_error(archive: Path) -> Iterator[None]:
    """Raises InputError where the libraries find the archive damaged."""
    try:
        yield
    except Exception as error:
        if not _is_damage(error):
            raise
        reason = " ".join(str(error).split()) or "cut short"
        raise InputError(archive, f"is damaged ({reason})", ANOTHER_COPY) from None


def _is_damage(error: Exception) -> bool:
    # The decompressors raise OSError as well; unlike the system's, theirs has no number.
    return isinstance(error, _DAMAGE) or (isinstance(error, OSError) and error.errno is None)


@contextmanager
def _room_freer(archive: Path, consume: bool) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that frees the room of a part of the archive on the disk.

    It takes the part's start and length in bytes. The archive keeps its size; the part then reads
    as zeros. The function does nothing without `consume`, or where the file system cannot do so.
    """
    fallocate = getattr(ctypes.CDLL(None), "fallocate64", None) if sys.platform == "linux" else None
    if not consume or fallocate is None:
        yield lambda start, length: None
        return
    keep_size, punch_hole = 1, 2  # linux/falloc.h
    with archive.open("r+b") as stream:
        yield lambda start, length: fallocate(
            stream.fileno(),
            keep_size | punch_hole,
            ctypes.c_int64(start),
            ctypes.c_int64(length),
        )
