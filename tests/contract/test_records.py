"""The tables of a training: exact numbers, and back to a checkpoint."""

import math
import struct
import subprocess
import sys

import pytest

from contract.errors import InputError
from contract.records import GrowingFile, Table, best, summary
from tests.conftest import ROOT

COLUMNS = ("step", "loss")


def test_a_table_goes_back_to_a_checkpoint_and_on(tmp_path):
    path = tmp_path / "log.csv"
    single = struct.unpack("<f", struct.pack("<f", 0.1))[0]
    values = [0.1, 1e-30, math.pi, single, 12345678.9]
    with Table(path, COLUMNS) as table:
        for step, value in enumerate(values, start=1):
            table.row(step=step, loss=value)
    with path.open("a") as file:
        file.write("6,0.")  # a process died here
    with Table(path, COLUMNS, count=3) as table:
        assert table.rows == [
            {"step": step, "loss": value} for step, value in enumerate(values[:3], start=1)
        ]
        assert all(isinstance(row["step"], int) for row in table.rows)
        table.row(step=4, loss=math.nan)
        table.row(step=5, loss=math.inf)
    assert path.read_text() == ("step,loss\n1,0.1\n2,1e-30\n3,3.141592653589793\n4,nan\n5,inf\n")


def test_a_new_training_begins_a_new_table(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,0.1\n2")
    with Table(path, COLUMNS) as table:
        assert table.rows == []
    assert path.read_text() == "step,loss\n"


def test_a_table_that_ends_before_its_checkpoint_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    content = "step,loss\n1,0.1\n2,0.2\n3,0."
    path.write_text(content)
    with pytest.raises(InputError) as refused:
        Table(path, COLUMNS, count=3)
    assert str(refused.value) == (
        f"{path}: has 2 whole rows, but the checkpoint was saved after 3; "
        "remove the folder to begin the training again"
    )
    assert path.read_text() == content


HOLD = """
import sys
from pathlib import Path
from contract.records import GrowingFile
with GrowingFile(Path(sys.argv[1])) as file:
    file.append(b"mine")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_trainings_do_not_write_to_one_file(tmp_path):
    path = tmp_path / "log.csv"
    command = [sys.executable, "-c", HOLD, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another training writes to this file"):
            GrowingFile(path)
        assert path.read_text() == "mine"
        process.kill()
    GrowingFile(path).append(b"ours")
    assert path.read_text() == "ours"


STEPS = [
    {"step": 1, "epoch": 1, "loss": 3.0, "seconds": 0.5},
    {"step": 2, "epoch": 1, "loss": 2.0, "seconds": 0.3},
    {"step": 3, "epoch": 2, "loss": 1.0, "seconds": 0.1},
]
EPOCHS = [{"step": 2, "valid_loss": 2.5}, {"step": 3, "valid_loss": 2.75}]


def test_the_summary_of_a_whole_training():
    assert summary(STEPS, EPOCHS, 42, "a machine") == {
        "status": "completed",
        "steps": 3,
        "best_valid_loss": 2.5,
        "final_loss": 1.0,
        "seconds_per_step": 0.3,
        "parameters": 42,
        "hardware": "a machine",
    }


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_training_that_diverged(loss):
    steps = [*STEPS, {"step": 4, "epoch": 2, "loss": loss, "seconds": 0.1}]
    ended = summary(steps, EPOCHS, 42, "a machine")
    assert (ended["status"], ended["steps"]) == ("diverged", 4)
    assert (ended["final_loss"], ended["best_valid_loss"]) == (None, 2.5)
    unlucky = summary(STEPS, [{"step": 3, "valid_loss": loss}], 42, "a machine")
    assert (unlucky["status"], unlucky["best_valid_loss"]) == ("diverged", None)


def test_before_any_validation_the_initial_weights_are_the_best():
    assert best([])["step"] == 0
    assert best([{"step": 2, "valid_loss": math.nan}])["step"] == 0
    assert best(EPOCHS)["step"] == 2
