"""Files that are whole or not there, and logs that can go back."""

import errno
import math
from pathlib import Path

import numpy as np
import pytest

from spleeter_mod.files import replacing
from spleeter_mod.logs import Log
from spleeter_mod.wav import FloatWav

COLUMNS = ("step", "loss")


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_names_the_file():
    with pytest.raises(OSError, match="/dev/full") as caught:
        FloatWav(Path("/dev/full"), 44100, 2, 10).write(np.zeros((10, 2)))
    assert caught.value.errno == errno.ENOSPC


def test_a_log_goes_back_to_a_step_and_on(tmp_path):
    path = tmp_path / "log.csv"
    values = [0.1, 1e-30, math.pi, float(np.float32(0.1)), 12345678.9]
    with Log(path, COLUMNS, until_step=0) as log:
        for step, value in enumerate(values, start=1):
            log.append(step=step, loss=value)
    with path.open("a") as file:
        file.write("6,0.")  # a process died here
    with Log(path, COLUMNS, until_step=3) as log:
        assert log.rows == [
            {"step": step, "loss": value} for step, value in enumerate(values[:3], start=1)
        ]
        assert all(isinstance(row["step"], int) for row in log.rows)
        log.append(step=4, loss=math.nan)
        log.append(step=5, loss=math.inf)
    assert path.read_text() == ("step,loss\n1,0.1\n2,1e-30\n3,3.141592653589793\n4,nan\n5,inf\n")


def test_a_new_run_begins_a_new_log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,0.1\n2")
    with Log(path, COLUMNS, until_step=0) as log:
        assert log.rows == []
    assert path.read_text() == "step,loss\n"
