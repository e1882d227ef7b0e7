"""Files and folders that are complete or not there."""

import errno
import hashlib
import itertools
import os
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


def test_the_hash_of_code_is_that_of_all_its_modules(tmp_path):
    def hashed(changes):
        names = {"first/a.py": "1", "first/b.py": "2", "second/a.py": "3"} | changes
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in names.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return files.sources_sha256(root / "first", root / "second")

    same = hashed({})
    assert hashed({"first/notes.txt": "4", "first/__pycache__/a.pyc": "5"}) == same
    changes = [{"first/b.py": "4"}, {"second/a.py": "4"}, {"first/c.py": ""}]
    changes.append({"first/a.py": "2", "first/b.py": "1"})
    assert len({same, *map(hashed, changes)}) == 1 + len(changes)


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


def test_a_folder_that_a_process_set_aside_before_it_died_is_put_back(folder):
    if not (pid := os.fork()):
        rename = Path.rename

        def rename_and_die(path, target):
            rename(path, target)
            os._exit(7)

        try:
            Path.rename = rename_and_die
            with files.new_folder(folder / "folder"):
                pass
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert contents(folder) == {"file": "old", ".folder.old/old": "old"}
    with pytest.raises(ZeroDivisionError), files.new_folder(folder / "folder"):
        1 / 0  # noqa: B018
    assert contents(folder) == OLD


def interrupt_after_renaming(monkeypatch, count: int) -> None:
    """Lets a signal arrive directly after a number of renamings."""
    rename, calls = Path.rename, itertools.count(1)

    def rename_and_interrupt(path, target):
        rename(path, target)
        if next(calls) == count:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", rename_and_interrupt)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_signal_between_renamings_loses_nothing(folder, monkeypatch, count):
    interrupt_after_renaming(monkeypatch, count)
    with (
        pytest.raises(KeyboardInterrupt),
        replacing(folder / "file", folder / "folder") as (new_file, new_folder),
    ):
        make(new_file, new_folder)
    assert contents(folder) == OLD


def test_a_finished_folder_is_moved_to_its_place(folder):
    (folder / "finished").mkdir()
    (folder / "finished" / "new").write_text("new")
    files.adopt(folder / "finished", folder / "folder")
    assert contents(folder) == {"file": "old", "folder/new": "new"}
    files.adopt(folder / "folder", folder / "deep" / "folder")
    assert contents(folder) == {"file": "old", "deep/folder/new": "new"}


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_that_cannot_be_moved_is_kept_and_so_is_the_older_one(folder, monkeypatch, count):
    (folder / "finished").mkdir()
    (folder / "finished" / "new").write_text("new")
    interrupt_after_renaming(monkeypatch, count)
    with pytest.raises(KeyboardInterrupt):
        files.adopt(folder / "finished", folder / "folder")
    assert contents(folder) == {**OLD, "finished/new": "new"}


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


@pytest.mark.parametrize("write", [files.write, files.write_shared])
def test_an_error_names_the_file_and_not_its_temporary_name(folder, write):
    with pytest.raises(FileNotFoundError) as caught:
        write(Path("/proc/train.json"), "{}")
    assert caught.value.filename == "/proc/train.json"
    with pytest.raises(IsADirectoryError) as caught:
        write(folder / "folder", "{}")
    assert caught.value.filename == str(folder / "folder")
    assert contents(folder) == OLD


def test_an_error_names_a_file_by_its_place_in_the_new_folder(folder):
    with pytest.raises(FileNotFoundError) as caught, files.new_folder(folder / "folder") as new:
        (new / "missing" / "file").write_text("new")
    assert caught.value.filename == str(folder / "folder" / "missing" / "file")


def test_an_error_names_a_temporary_name_that_is_too_long(folder):
    path = folder / ("n" * 253)
    with pytest.raises(OSError, match="File name too long") as caught:
        files.write(path, "new")
    assert caught.value.filename == str(files.temporary(path))


def test_the_checksum_of_a_file(tmp_path):
    path = tmp_path / "file"
    for content in (b"", bytes(2**20 + 1)):
        path.write_bytes(content)
        assert files.sha256(path) == hashlib.sha256(content).hexdigest()


def test_the_text_of_a_json_file():
    assert files.json_text({"a": [1, None]}) == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'
