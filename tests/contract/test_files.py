"""Files and folders that are complete or not there."""

import errno
import hashlib
from pathlib import Path

import pytest

from contract import files
from contract.files import replacing


@pytest.fixture
def folder(tmp_path):
    """A folder with a file and a folder of an earlier run."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    """The text of every file in a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


OLD = {"file": "old", "folder/old": "old"}


def make(new_file: Path, new_folder: Path) -> None:
    """Makes the new versions of the file and of the folder."""
    new_file.write_text("new")
    new_folder.mkdir()
    (new_folder / "new").write_text("new")


def test_all_targets_are_replaced_together(folder):
    targets = folder / "file", folder / "folder", folder / "deep" / "file"
    with replacing(*targets) as (new_file, new_folder, deep_file):
        make(new_file, new_folder)
        deep_file.write_text("new")
        assert contents(folder).items() >= OLD.items()
    assert contents(folder) == {"file": "new", "folder/new": "new", "deep/file": "new"}


def test_nothing_is_replaced_when_the_block_fails(folder):
    with (
        pytest.raises(ZeroDivisionError),
        replacing(folder / "file", folder / "folder") as (new_file, new_folder),
    ):
        make(new_file, new_folder)
        1 / 0  # noqa: B018
    assert contents(folder) == OLD


def test_nothing_is_replaced_when_the_last_target_was_not_made(folder):
    targets = folder / "file", folder / "folder", folder / "missing"
    with (
        pytest.raises(FileNotFoundError),
        replacing(*targets) as (new_file, new_folder, _),
    ):
        make(new_file, new_folder)
    assert contents(folder) == OLD


def test_the_leftovers_of_a_killed_process_do_no_harm(folder):
    make(folder / ".file.tmp", folder / ".folder.tmp")
    make(folder / ".file.old", folder / ".folder.old")
    with replacing(folder / "file", folder / "folder") as (new_file, new_folder):
        assert not new_file.exists()
        make(new_file, new_folder)
    assert contents(folder) == {"file": "new", "folder/new": "new"}


def test_all_of_several_files_are_written_or_none(folder):
    files.write_together({folder / "file": "new", folder / "folder" / "more": b"new"})
    assert contents(folder) == {"file": "new", "folder/more": "new", "folder/old": "old"}
    with pytest.raises(NotADirectoryError):  # a file stands where the folder `old` would be
        files.write_together({folder / "file": "newer", folder / "folder" / "old" / "no": "newer"})
    assert contents(folder) == {"file": "new", "folder/more": "new", "folder/old": "old"}


def test_there_is_no_moment_without_a_single_file(folder, monkeypatch):
    """A process that dies leaves the old version or the new one."""
    texts_before = []
    replace = Path.replace

    def recorded_replace(path, target):
        texts_before.append(target.read_text())
        replace(path, target)

    monkeypatch.setattr(Path, "replace", recorded_replace)
    files.write(folder / "file", "new")
    assert texts_before == ["old"]
    assert contents(folder) == {"file": "new", "folder/old": "old"}


def test_two_processes_may_write_a_file_at_the_same_time(tmp_path, monkeypatch):
    """Even processes of the same number, on two machines."""
    path = tmp_path / "scores.json"
    replace = Path.replace

    def replace_after_another_process(temporary, target):
        monkeypatch.undo()
        files.write_shared(path, "7")
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", replace_after_another_process)
    files.write_shared(path, "7")
    assert path.read_text() == "7"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_of_a_full_disk_names_the_file():
    with (
        pytest.raises(OSError) as caught,
        files.writing(Path("/dev/full")) as stream,
    ):
        stream.write(bytes(2**20))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")


def test_the_checksum_of_a_file(tmp_path):
    path = tmp_path / "file"
    for content in (b"", bytes(2**20 + 1)):
        path.write_bytes(content)
        assert files.sha256(path) == hashlib.sha256(content).hexdigest()


def test_the_text_of_a_json_file():
    assert files.json_text({"a": [1, None]}) == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'
