"""Archives of real audio are unpacked safely and completely, and resume after interruptions."""

import io
import os
import re
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from contract.errors import InputError
from stages.fetching.unpack import ANOTHER_ARCHIVE, ANOTHER_COPY, unpack
from tests.conftest import ROOT, TEST_DATA
from tests.stages.disks import grow, small_disk

MUSIC = TEST_DATA / "data" / "music"
FORMATS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")
NOT_AN_ARCHIVE = "is neither a zip nor a tar archive, or is cut short"


def songs() -> dict[str, bytes]:
    """The content of the test song's files, by name."""
    return {
        str(path.relative_to(MUSIC)): path.read_bytes()
        for path in sorted(MUSIC.glob("test/*/*.wav"))
    }


def pack(path: Path, members: dict[str, bytes], compression=zipfile.ZIP_STORED) -> Path:
    """Makes an archive of the format that its suffix says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content, compression)
    else:
        mode = path.suffix[1:].removesuffix("tar")
        with tarfile.open(path, f"w:{mode}") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """The content of the files below a folder, by name."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def error_of(archive: Path, tmp_path: Path) -> str:
    """Unpacks a bad archive; returns the error, without the archive's name at its beginning.

    Nothing may be written outside the target.
    """

    def outside():
        everything = contents(tmp_path).items()
        return {name: data for name, data in everything if not name.startswith("inner/target/")}

    before = outside()
    with pytest.raises(InputError) as caught:
        unpack(archive, tmp_path / "inner" / "target")
    assert outside() == before
    message = str(caught.value)
    assert message.startswith(f"{archive}: ")
    assert "\n" not in message
    return message.removeprefix(f"{archive}: ")


@pytest.mark.parametrize("suffix", FORMATS)
def test_unpacking_restores_the_files(tmp_path, suffix):
    archive = pack(tmp_path / f"songs.{suffix}", songs())
    unpack(archive, tmp_path / "target")
    assert contents(tmp_path / "target") == songs()


def test_only_content_is_unpacked(tmp_path):
    """Modes, owners and dates are ignored."""
    path = tmp_path / "songs.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("run.sh")
        member.mode, member.uid, member.mtime, member.size = 0o6777, 12345, 1, 1
        archive.addfile(member, io.BytesIO(b"x"))
    unpack(path, tmp_path / "target")
    made = (tmp_path / "target" / "run.sh").stat()
    assert stat.S_IMODE(made.st_mode) == 0o644
    assert made.st_uid == os.geteuid()
    assert made.st_mtime > 1e9


OUTSIDE = ["../x", "a/../../x", "/tmp/x", "C:x", "C:/x", "..\\x", "a\\x", "\\x", ".."]


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, suffix, name):
    archive = pack(tmp_path / f"bad.{suffix}", {"good": b"g", name: b"x"})
    assert error_of(archive, tmp_path) == (
        f"has the member {name!r}, whose name leaves the folder; {ANOTHER_ARCHIVE}"
    )
    if suffix == "zip":
        assert not contents(tmp_path / "inner" / "target")


@pytest.mark.parametrize("name", ["./a.wav", "a//b.wav", "a/./b.wav", "..a", "a..b", "c: d"[1:]])
def test_an_unusual_name_inside_the_folder_is_unpacked(tmp_path, name):
    for suffix in ("zip", "tar"):
        unpack(pack(tmp_path / f"odd.{suffix}", {name: b"x"}), tmp_path / suffix)
        assert (tmp_path / suffix / name).read_bytes() == b"x"


NOT_PLAIN = f"has the member 'inside', which is neither a file nor a folder; {ANOTHER_ARCHIVE}"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("inside")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    assert error_of(path, tmp_path) == NOT_PLAIN
    assert not (tmp_path / "inner" / "target" / "inside").exists()


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("inside")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc")
        archive.writestr("inside/x", "x")
    assert error_of(path, tmp_path) == NOT_PLAIN


def test_an_encrypted_zip_is_refused(tmp_path):
    archive = pack(tmp_path / "secret.zip", {"a.wav": b"x"})
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    archive.write_bytes(content)
    assert error_of(archive, tmp_path) == (
        "has the encrypted member 'a.wav'; use an archive that opens without a password"
    )


def pack_same_name_twice(path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "1")
            with pytest.warns(UserWarning):
                archive.writestr("a", "2")
    else:
        with tarfile.open(path, "w") as archive:
            for _ in range(2):
                archive.addfile(tarfile.TarInfo("a"))
    return path


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_a_name_that_occurs_twice_is_refused(tmp_path, suffix):
    archive = pack_same_name_twice(tmp_path / f"twice.{suffix}")
    assert error_of(archive, tmp_path) == f"has the member 'a' twice; {ANOTHER_ARCHIVE}"


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize(
    ("names", "refused", "reason"),
    [
        (["f", "f/g"], "f/g", "(file exists|not a directory)"),
        (["h/g", "h"], "h", "(is a directory|directory not empty)"),
        (["x" * 300], "x" * 300, "file name too long"),
    ],
    ids=["below", "above", "long"],
)
def test_names_that_the_file_system_cannot_hold_are_refused(
    tmp_path, suffix, names, refused, reason
):
    archive = pack(tmp_path / f"names.{suffix}", dict.fromkeys(names, b"x"))
    message = (
        rf"has the member '{refused}', which cannot be written \({reason}\); "
        "use an archive with other names"
    )
    assert re.fullmatch(message, error_of(archive, tmp_path))


def test_a_member_with_a_wrong_crc_is_refused(tmp_path):
    archive = pack(tmp_path / "songs.zip", songs())
    content = bytearray(archive.read_bytes())
    middle = content.index(b"drums.wav") + 5000
    content[middle] ^= 1
    archive.write_bytes(content)
    (drums,) = (name for name in songs() if name.endswith("drums.wav"))
    assert error_of(archive, tmp_path) == (
        f"is damaged (Bad CRC-32 for file {drums!r}); {ANOTHER_COPY}"
    )
    there = contents(tmp_path / "inner" / "target")
    assert all(songs()[name] == data for name, data in there.items())
    assert not any("drums" in name for name in there)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("part", [0.0001, 0.3, 0.77, 0.99])
def test_an_archive_that_is_cut_short_leaves_no_incomplete_member(tmp_path, suffix, part):
    archive = pack(tmp_path / f"songs.{suffix}", songs())
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * part)])
    message = error_of(archive, tmp_path)
    assert re.fullmatch(rf"(is damaged \(.+\)|{NOT_AN_ARCHIVE}); {ANOTHER_COPY}", message)
    there = contents(tmp_path / "inner" / "target")
    assert all(songs()[name] == data for name, data in there.items())


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_anywhere_is_noticed(tmp_path, suffix):
    """A flipped bit is an error, and no damaged file remains.

    Only a tar that is not compressed has no checksum of its members' content.
    """
    archive = pack(tmp_path / f"songs.{suffix}", songs(), zipfile.ZIP_DEFLATED)
    content = archive.read_bytes()
    for tenth in range(1, 10):
        damaged = bytearray(content)
        damaged[len(content) * tenth // 10] ^= 16
        archive.write_bytes(damaged)
        target = tmp_path / str(tenth)
        if suffix == "tar":
            unpack(archive, target)
            assert list(contents(target)) == list(songs())
        else:
            with pytest.raises(InputError, match=rf": (is damaged \(|{NOT_AN_ARCHIVE}; )"):
                unpack(archive, target)
            assert all(songs()[name] == data for name, data in contents(target).items())


def test_a_damaged_header_in_a_tar_is_not_taken_for_its_end(tmp_path):
    archive = pack(tmp_path / "songs.tar", songs())
    content = bytearray(archive.read_bytes())
    content[content.index(b"other.wav")] ^= 1
    archive.write_bytes(content)
    assert error_of(archive, tmp_path) == f"is damaged (bad checksum); {ANOTHER_COPY}"


def test_a_file_that_is_not_an_archive_is_refused(tmp_path):
    path = tmp_path / "songs.zip"
    path.write_bytes(songs().popitem()[1])
    assert error_of(path, tmp_path) == f"{NOT_AN_ARCHIVE}; {ANOTHER_COPY}"
    path.write_bytes(b"")
    assert error_of(path, tmp_path) == f"{NOT_AN_ARCHIVE}; {ANOTHER_COPY}"


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_intact_members_are_kept_and_others_are_unpacked_again(tmp_path, suffix):
    archive = pack(tmp_path / f"songs.{suffix}", songs())
    target = tmp_path / "target"
    unpack(archive, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    intact, short, damaged, *_ = files
    for path in files:
        os.utime(path, (1, 1))
    short.write_bytes(short.read_bytes()[:-1])
    if suffix == "zip":  # a tar has no checksum of a member
        damaged.write_bytes(bytes(len(damaged.read_bytes())))
    unpack(archive, target)
    assert contents(target) == songs()
    unpacked_again = {path for path in files if path.stat().st_mtime > 1}
    assert unpacked_again == ({short, damaged} if suffix == "zip" else {short})
    assert intact not in unpacked_again


def killed_while_unpacking(
    folder: Path, archive: Path, target: Path, consume: bool, call: int, function: str
) -> None:
    """Unpacks in another process, which is killed at a call of a function of the module.

    Args:
        folder: the working directory.
        archive: the archive.
        target: where it is unpacked.
        consume: as for `unpack`.
        call: the number of the call, from 1.
        function: the function's name.
    """
    script = f"""
import os, sys
from pathlib import Path
from stages.fetching import unpack
calls = 0
original = unpack.{function}
def kill_or_call(*arguments, **options):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), 9)
    return original(*arguments, **options)
unpack.{function} = kill_or_call
unpack.unpack(Path(sys.argv[1]), Path(sys.argv[2]), {consume})
"""
    done = subprocess.run(
        [sys.executable, "-c", script, archive, target],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
@pytest.mark.parametrize("function", ["_write", "writing"])
def test_unpacking_resumes_after_a_kill(tmp_path, suffix, function):
    archive, target = pack(tmp_path / f"songs.{suffix}", songs()), tmp_path / "target"
    killed_while_unpacking(tmp_path, archive, target, consume=False, call=3, function=function)
    made = [path for path in target.rglob("*.wav")]
    assert len(made) == 2
    for path in made:
        os.utime(path, (1, 1))
    unpack(archive, target)
    assert contents(target) == songs()
    assert all(path.stat().st_mtime == 1 for path in made)


def disk_usage(path: Path) -> int:
    """The bytes that a file, or the files of a folder, take on the disk."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.stat().st_blocks * 512 for file in files)


def can_free_parts(folder: Path) -> bool:
    """Whether the file system can free a part of a file."""
    archive = pack(folder / "probe.zip", {"a": bytes(range(256)) * 256})
    with archive.open("r+b") as stream:
        os.fsync(stream.fileno())
    before = disk_usage(archive)
    unpack(archive, folder / "probe", consume=True)
    return disk_usage(archive) < before


def test_a_consumed_zip_frees_its_room_while_it_is_unpacked(tmp_path):
    if not can_free_parts(tmp_path):
        pytest.skip("this file system cannot free a part of a file")
    archive, target = pack(tmp_path / "songs.zip", songs()), tmp_path / "target"
    usage, size = disk_usage(archive), archive.stat().st_size
    killed_while_unpacking(tmp_path, archive, target, consume=True, call=4, function="_write")
    # Three members are in the folder; the archive has freed them, but for incomplete blocks.
    assert len(contents(target)) == 3
    assert disk_usage(archive) + disk_usage(target) < 1.05 * usage
    assert disk_usage(archive) < 0.5 * usage
    assert archive.stat().st_size == size
    unpack(archive, target, consume=True)
    assert contents(target) == songs()
    assert disk_usage(archive) < 0.05 * usage
    assert archive.stat().st_size == size


def test_a_consumed_zip_cannot_be_unpacked_elsewhere(tmp_path):
    """The freed parts read as zeros, which must never become files."""
    archive = pack(tmp_path / "songs.zip", songs())
    if not can_free_parts(tmp_path):
        pytest.skip("this file system cannot free a part of a file")
    unpack(archive, tmp_path / "target", consume=True)
    message = error_of(archive, tmp_path)
    assert re.fullmatch(rf"is damaged \(.+\); {ANOTHER_COPY}", message)


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_full_disk_names_the_file_and_unpacking_resumes(tmp_path, suffix):
    archive = pack(tmp_path / f"songs.{suffix}", songs())
    small = tmp_path / "small"
    with small_disk(small, "1m"):  # of 1.8 MB
        with pytest.raises(OSError, match="No space left") as caught:
            unpack(archive, small / "target")
        name = str(Path(caught.value.filename).relative_to(small / "target"))
        there = contents(small / "target")
        assert name in songs()
        assert name not in there
        assert there
        assert all(songs()[name] == data for name, data in there.items())
        grow(small, "10m")
        unpack(archive, small / "target")
        assert contents(small / "target") == songs()
