"""Archives: safe, whole, gone on with. Of real audio."""

import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from metrics.errors import InputError
from stages.unpack import unpack
from tests.conftest import ROOT, TEST_DATA
from tests.stages.disks import grow, small_disk

MUSIC = TEST_DATA / "data" / "music"
FORMATS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")


def songs() -> dict[str, bytes]:
    """The test song's files by name."""
    return {
        str(path.relative_to(MUSIC)): path.read_bytes()
        for path in sorted(MUSIC.glob("test/*/*.wav"))
    }


def pack(path: Path, members: dict[str, bytes], compression=zipfile.ZIP_STORED) -> Path:
    """An archive by its suffix."""
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


def found(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def refused(archive: Path, tmp_path: Path) -> str:
    """The error of unpacking, when nothing was written outside the target."""

    def outside():
        everything = found(tmp_path).items()
        return {name: data for name, data in everything if not name.startswith("inner/target/")}

    before = outside()
    with pytest.raises(InputError) as caught:
        unpack(archive, tmp_path / "inner" / "target")
    assert outside() == before
    message = str(caught.value)
    assert message.startswith(f"{archive}: found ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_was_packed_is_unpacked(tmp_path, suffix):
    archive = pack(tmp_path / f"songs.{suffix}", songs())
    unpack(archive, tmp_path / "target")
    assert found(tmp_path / "target") == songs()


def test_only_content_is_unpacked(tmp_path):
    """No modes, owners or dates."""
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
    assert f"the member {name!r}, expected names that stay in the" in refused(archive, tmp_path)
    if suffix == "zip":
        assert not found(tmp_path / "inner" / "target")


@pytest.mark.parametrize("name", ["./a.wav", "a//b.wav", "a/./b.wav", "..a", "a..b", "c: d"[1:]])
def test_an_unusual_name_is_none_of_these(tmp_path, name):
    for suffix in ("zip", "tar"):
        unpack(pack(tmp_path / f"odd.{suffix}", {name: b"x"}), tmp_path / suffix)
        assert (tmp_path / suffix / name).read_bytes() == b"x"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("inside")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    assert "the member 'inside', a link or a device" in refused(path, tmp_path)
    assert not (tmp_path / "inner" / "target" / "inside").exists()


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("inside")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc")
        archive.writestr("inside/x", "x")
    assert "the member 'inside', a link or a device" in refused(path, tmp_path)


def test_an_encrypted_zip_is_one_line(tmp_path):
    archive = pack(tmp_path / "secret.zip", {"a.wav": b"x"})
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    archive.write_bytes(content)
    assert "the encrypted member 'a.wav', expected one that opens" in refused(archive, tmp_path)


def pairs_with_one_name(path: Path) -> Path:
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
def test_names_that_cannot_be_side_by_side_are_refused(tmp_path, suffix):
    archive = pairs_with_one_name(tmp_path / f"twice.{suffix}")
    assert "the member 'a' twice" in refused(archive, tmp_path)
    below = pack(tmp_path / f"below.{suffix}", {"f": b"x", "f/g": b"x"})
    assert "the member 'f/g'" in refused(below, tmp_path)
    above = pack(tmp_path / f"above.{suffix}", {"h/g": b"x", "h": b"x"})
    assert "the member 'h'" in refused(above, tmp_path)
    long = pack(tmp_path / f"long.{suffix}", {"x" * 300: b"x"})
    assert "(File name too long)" in refused(long, tmp_path)


def test_a_wrong_crc_is_one_line_and_the_member_is_not_there(tmp_path):
    archive = pack(tmp_path / "songs.zip", songs())
    content = bytearray(archive.read_bytes())
    middle = content.index(b"drums.wav") + 5000
    content[middle] ^= 1
    archive.write_bytes(content)
    message = refused(archive, tmp_path)
    assert "Bad CRC-32" in message
    assert "drums.wav" in message
    there = found(tmp_path / "inner" / "target")
    assert all(songs()[name] == data for name, data in there.items())
    assert not any("drums" in name for name in there)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("part", [0.0001, 0.3, 0.77, 0.99])
def test_a_cut_archive_is_one_line_and_nothing_of_it_is_half_there(tmp_path, suffix, part):
    archive = pack(tmp_path / f"songs.{suffix}", songs())
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * part)])
    refused(archive, tmp_path)
    there = found(tmp_path / "inner" / "target")
    assert all(songs()[name] == data for name, data in there.items())


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_anywhere_is_noticed(tmp_path, suffix):
    """A flipped bit is one line, or in a tar's unchecked content (which has no checksum at all)
    the only difference; where there is a checksum, no damaged file remains."""
    archive = pack(tmp_path / f"songs.{suffix}", songs(), zipfile.ZIP_DEFLATED)
    content = archive.read_bytes()
    for tenth in range(1, 10):
        damaged = bytearray(content)
        damaged[len(content) * tenth // 10] ^= 16
        archive.write_bytes(damaged)
        target = tmp_path / str(tenth)
        if suffix == "tar":
            unpack(archive, target)
            assert list(found(target)) == list(songs())
        else:
            with pytest.raises(InputError, match=r"found (damage|neither)"):
                unpack(archive, target)
            assert all(songs()[name] == data for name, data in found(target).items())


def test_a_damaged_header_in_a_tar_is_not_taken_for_its_end(tmp_path):
    archive = pack(tmp_path / "songs.tar", songs())
    content = bytearray(archive.read_bytes())
    content[content.index(b"other.wav")] ^= 1
    archive.write_bytes(content)
    assert "found damage" in refused(archive, tmp_path)


def test_what_is_no_archive_is_one_line(tmp_path):
    path = tmp_path / "songs.zip"
    path.write_bytes(songs().popitem()[1])
    assert "neither zip nor tar" in refused(path, tmp_path)
    path.write_bytes(b"")
    assert "neither zip nor tar" in refused(path, tmp_path)


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_whole_members_are_kept_and_others_are_not(tmp_path, suffix):
    archive = pack(tmp_path / f"songs.{suffix}", songs())
    target = tmp_path / "target"
    unpack(archive, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    whole, short, *rest = files
    for path in files:
        os.utime(path, (1, 1))
    short.write_bytes(short.read_bytes()[:-1])
    damaged = rest[0]
    if suffix == "zip":  # a tar does not know
        damaged.write_bytes(bytes(len(damaged.read_bytes())))
    unpack(archive, target)
    assert found(target) == songs()
    new = {path for path in files if path.stat().st_mtime > 1}
    assert new == ({short, damaged} if suffix == "zip" else {short})
    assert whole not in new


def killed_in(folder: Path, archive: Path, target: Path, consume: bool, member: int, at: str):
    """Unpacks in another process, which is killed while it does a member's last step or first."""
    script = f"""
import os, sys
from pathlib import Path
from stages import unpack
count = 0
step = unpack.{at}
def killing(*arguments, **options):
    global count
    count += 1
    if count == {member}:
        os.kill(os.getpid(), 9)
    return step(*arguments, **options)
unpack.{at} = killing
unpack.unpack(Path(sys.argv[1]), Path(sys.argv[2]), {consume})
"""
    done = subprocess.run(
        [sys.executable, "-c", script, archive, target],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
@pytest.mark.parametrize("at", ["_write", "writing"])
def test_a_killed_call_is_gone_on_with(tmp_path, suffix, at):
    archive, target = pack(tmp_path / f"songs.{suffix}", songs()), tmp_path / "target"
    killed_in(tmp_path, archive, target, consume=False, member=3, at=at)
    made = [path for path in target.rglob("*.wav")]
    assert len(made) == 2
    for path in made:
        os.utime(path, (1, 1))
    unpack(archive, target)
    assert found(target) == songs()
    assert all(path.stat().st_mtime == 1 for path in made)


def room(path: Path) -> int:
    """The bytes that a file, or a folder's files, take on the disk."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.stat().st_blocks * 512 for file in files)


def holes_are_possible(folder: Path) -> bool:
    archive = pack(folder / "probe.zip", {"a": bytes(range(256)) * 256})
    with archive.open("r+b") as stream:
        os.fsync(stream.fileno())
    before = room(archive)
    unpack(archive, folder / "probe", consume=True)
    return room(archive) < before


def test_a_consumed_zip_gives_its_room_back_as_it_unpacks(tmp_path):
    if not holes_are_possible(tmp_path):
        pytest.skip("no holes in files on this file system")
    archive, target = pack(tmp_path / "songs.zip", songs()), tmp_path / "target"
    whole, size = room(archive), archive.stat().st_size
    killed_in(tmp_path, archive, target, consume=True, member=4, at="_write")
    # Three members are in the folder, and not in the archive but for their ends.
    assert len(found(target)) == 3
    assert room(archive) + room(target) < 1.05 * whole
    assert room(archive) < 0.5 * whole
    assert archive.stat().st_size == size
    unpack(archive, target, consume=True)
    assert found(target) == songs()
    assert room(archive) < 0.05 * whole
    assert archive.stat().st_size == size


def test_a_consumed_zip_whose_members_are_lost_is_damaged(tmp_path):
    """Never zeros in a file's place."""
    archive = pack(tmp_path / "songs.zip", songs())
    if not holes_are_possible(tmp_path):
        pytest.skip("no holes in files on this file system")
    unpack(archive, tmp_path / "target", consume=True)
    assert "found damage" in refused(archive, tmp_path)


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_full_disk_names_the_file_and_the_rest_is_unpacked_later(tmp_path, suffix):
    archive = pack(tmp_path / f"songs.{suffix}", songs())
    small = tmp_path / "small"
    with small_disk(small, "1m"):  # of 1.8 MB
        with pytest.raises(OSError, match="No space left") as caught:
            unpack(archive, small / "target")
        name = str(Path(caught.value.filename).relative_to(small / "target"))
        there = found(small / "target")
        assert name in songs()
        assert name not in there
        assert there
        assert all(songs()[name] == data for name, data in there.items())
        grow(small, "10m")
        unpack(archive, small / "target")
        assert found(small / "target") == songs()
