"""Unpacks archives: nothing outside the target, nothing that is damaged, nothing twice."""

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

from metrics.errors import InputError
from stages.files import writing
from stages.progress import ByteProgress

BLOCK = 2**20  # bytes
UNFINISHED = ".unpacking.partial"  # the member that is being written, in the target folder

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
_NO_SUCH_NAME = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTEMPTY)


def unpack(archive: Path, target: Path, consume: bool = False) -> None:
    """Unpacks a zip or tar archive, compressed or not, into the folder `target`.

    A member appears under its name when it is whole, so that an interrupted call is gone on with
    by the next: members that are there are kept if their size (and in a zip, their CRC) is right.
    Of files only the content is unpacked; links and devices are refused.

    Args:
        consume: gives back a zip's room on the disk member by member, where the file system can.
            The archive is then good for nothing but to go on unpacking into the same folder.

    Raises:
        InputError: a member that would be written outside `target`, that is neither file nor
            folder, encrypted, or twice there, or a damaged archive.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _damage_named(archive):
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, target, consume)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, target)
        else:
            raise InputError(archive, "neither zip nor tar (cut short?)", "an archive")


def _unpack_zip(archive: Path, target: Path, consume: bool) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = sorted(opened.infolist(), key=lambda member: member.header_offset)
        names = _Names(archive)
        paths = [target / names.checked(member.filename) for member in members]
        for member in members:
            _require_plain(archive, member)
        ends = [*(member.header_offset for member in members[1:]), opened.start_dir]
        size = sum(member.file_size for member in members)
        with (
            ByteProgress(f"unpacking {archive.name}", size) as progress,
            _room_giver(archive, consume) as give_back,
        ):
            for member, path, end in zip(members, paths, ends, strict=True):
                if member.is_dir():
                    _make_folder(archive, path, member.filename)
                elif _is_there(path, member):
                    progress.add(member.file_size)
                else:
                    with opened.open(member) as source:
                        _write(archive, source, target, path, progress.add, consume)
                give_back(member.header_offset, end - member.header_offset)


def _unpack_tar(archive: Path, target: Path) -> None:
    names = _Names(archive)
    size = archive.stat().st_size
    paths = []
    with (
        archive.open("rb") as raw,
        tarfile.open(fileobj=raw, tarinfo=_Member) as opened,
        ByteProgress(f"unpacking {archive.name}", size) as progress,
    ):
        read = 0
        try:
            for member in opened:
                path = target / names.checked(member.name, folder=member.isdir())
                if member.isdir():
                    _make_folder(archive, path, member.name)
                elif not member.isreg():
                    found = f"the member {member.name!r}, a link or a device"
                    raise InputError(archive, found, "files and folders")
                else:
                    paths.append(path)
                    if not _has_size(path, member.size):
                        source = opened.extractfile(member)
                        _write(archive, source, target, path, lambda _: None, sync=False)
                progress.add(raw.tell() - read)
                read = raw.tell()
            while opened.fileobj.read(BLOCK):  # to where the checksum of a compressed tar is
                pass
        except Exception as error:
            if _is_damage(error):
                # Which of them it is cannot be told.
                for path in paths:
                    path.unlink(missing_ok=True)
            raise


class _Member(tarfile.TarInfo):
    """A member that is not taken for the last one because the archive is damaged behind it."""

    @classmethod
    def fromtarfile(cls, tarfile_):
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # the mark at the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


class _Names:
    """Checks members' names: each inside the target, and once."""

    def __init__(self, archive: Path):
        self._archive = archive
        self._seen: set[PurePosixPath] = set()

    def checked(self, name: str, folder: bool | None = None) -> PurePosixPath:
        """A member's path below the target.

        Args:
            folder: whether it is one; None: if its name ends in a slash.
        """
        path = PurePosixPath(name)
        leaves = path.is_absolute() or ".." in path.parts
        if leaves or "\\" in name or "\0" in name or re.match("[A-Za-z]:", name):
            found = f"the member {name!r}"
            raise InputError(self._archive, found, "names that stay in the folder")
        if name.endswith("/") if folder is None else folder:
            return path
        if path in self._seen or not path.parts:
            raise InputError(self._archive, f"the member {name!r} twice", "each name once")
        self._seen.add(path)
        return path


def _require_plain(archive: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    if member.flag_bits & 1:
        found = f"the encrypted member {name!r}"
        raise InputError(archive, found, "one that opens without a password")
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive knows no such thing
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        found = f"the member {name!r}, a link or a device"
        raise InputError(archive, found, "files and folders")


def _has_size(path: Path, size: int) -> bool:
    return os.path.isfile(path) and path.stat().st_size == size  # false for impossible names


def _is_there(path: Path, member: zipfile.ZipInfo) -> bool:
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
    count: Callable[[int], None],
    sync: bool,
) -> None:
    """Copies a member out of the archive; with `sync` it is on the disk afterwards."""
    _make_folder(archive, path.parent, str(path.relative_to(target)))
    unfinished = target / UNFINISHED
    try:
        with writing(unfinished, shown=path) as stream:
            while block := source.read(BLOCK):
                stream.write(block)
                count(len(block))
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        with _name_refused(archive, str(path.relative_to(target))):
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _make_folder(archive: Path, path: Path, name: str) -> None:
    with _name_refused(archive, name):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def _name_refused(archive: Path, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SUCH_NAME:
            raise
        found = f"the member {name!r} ({os.strerror(error.errno)})"
        raise InputError(archive, found, "names that can be side by side") from None


@contextmanager
def _damage_named(archive: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not _is_damage(error):
            raise
        reason = " ".join(str(error).split()) or "cut short"
        raise InputError(archive, f"damage ({reason})", "a whole archive") from None


def _is_damage(error: Exception) -> bool:
    # The decompressors also raise OSError, without a number: the system's have one.
    return isinstance(error, _DAMAGE) or (isinstance(error, OSError) and error.errno is None)


@contextmanager
def _room_giver(archive: Path, consume: bool) -> Iterator[Callable[[int, int], None]]:
    """A function of a start and a length in bytes: that part of the archive takes no more room on
    the disk, the archive keeps its size. It does nothing where the file system cannot."""
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
