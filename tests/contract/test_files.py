"""Files and folders that are whole or not there."""

import errno
from pathlib import Path

import pytest

from contract import files
from contract.files import replacing


@pytest.fixture
def place(tmp_path):
    """A file and a folder, each of an earlier run."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    return tmp_path


def contents(place):
    return {
        str(path.relative_to(place)): path.read_text()
        for path in place.rglob("*")
        if path.is_file()
    }


OLD = {"file": "old", "folder/old": "old"}


def make(file, folder):
    file.write_text("new")
    folder.mkdir()
    (folder / "new").write_text("new")


def test_replaces_all(place):
    with replacing(place / "file", place / "folder", place / "deep" / "file") as (a, b, c):
        make(a, b)
        c.write_text("new")
        assert contents(place).items() >= OLD.items()
    assert contents(place) == {"file": "new", "folder/new": "new", "deep/file": "new"}


def test_replaces_nothing_when_the_making_fails(place):
    with (
        pytest.raises(ZeroDivisionError),
        replacing(place / "file", place / "folder") as (file, folder),
    ):
        make(file, folder)
        1 / 0  # noqa: B018
    assert contents(place) == OLD


def test_replaces_nothing_when_the_last_cannot_be(place):
    with (
        pytest.raises(FileNotFoundError),
        replacing(place / "file", place / "folder", place / "missing") as (file, folder, _),
    ):
        make(file, folder)
    assert contents(place) == OLD


def test_leftovers_of_a_killed_process_do_no_harm(place):
    make(place / ".file.tmp", place / ".folder.tmp")
    make(place / ".file.old", place / ".folder.old")
    with replacing(place / "file", place / "folder") as (file, folder):
        assert not file.exists()
        make(file, folder)
    assert contents(place) == {"file": "new", "folder/new": "new"}


def test_several_files_are_written_or_none(place):
    contents_of = {place / "file": "new", place / "folder" / "more": b"new"}
    files.write_together(contents_of)
    assert contents(place) == {"file": "new", "folder/more": "new", "folder/old": "old"}
    (place / "folder" / "a folder").mkdir()
    with pytest.raises(OSError):
        files.write_together({place / "file": "newer", place / "folder" / "old" / "no": "newer"})
    assert contents(place) == {"file": "new", "folder/more": "new", "folder/old": "old"}


def test_one_file_is_replaced_at_once(place, monkeypatch):
    """There is no moment without it: a process that dies leaves the one before or the new one."""
    seen = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (seen.append(to.read_text()), replace(self, to))
    )
    files.write(place / "file", "new")
    assert seen == ["old"]
    assert contents(place) == {"file": "new", "folder/old": "old"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_names_the_file():
    with (
        pytest.raises(OSError, match="/dev/full") as caught,
        files.writing(Path("/dev/full")) as stream,
    ):
        stream.write(bytes(2**20))
    assert caught.value.errno == errno.ENOSPC
