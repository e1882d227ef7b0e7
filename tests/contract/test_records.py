"""The records of a training hold exact numbers and can return to a checkpoint."""

import math
import struct
import subprocess
import sys

import pytest

from contract.errors import InputError
from contract.records import (
    EPOCH_COLUMNS,
    GrowingFile,
    Table,
    TrainingSummary,
    best,
    divergence,
    summary,
    validation_row,
)
from tests.conftest import ROOT

COLUMNS = ("step", "loss")


def test_a_table_returns_to_a_checkpoint_and_continues(tmp_path):
    path = tmp_path / "log.csv"
    single_precision = struct.unpack("<f", struct.pack("<f", 0.1))[0]
    values = [0.1, 1e-30, math.pi, single_precision, 12345678.9]
    with Table(path, COLUMNS) as table:
        for step, value in enumerate(values, start=1):
            table.row(step=step, loss=value)
    with path.open("a") as file:
        file.write("6,0.")  # as a process leaves it that dies here
    with Table(path, COLUMNS, count=3) as table:
        assert table.rows == [
            {"step": step, "loss": value} for step, value in enumerate(values[:3], start=1)
        ]
        assert all(isinstance(row["step"], int) for row in table.rows)
        table.row(step=4, loss=math.nan)
        table.row(step=5, loss=math.inf)
    assert path.read_text() == "step,loss\n1,0.1\n2,1e-30\n3,3.141592653589793\n4,nan\n5,inf\n"


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
    with pytest.raises(InputError) as caught:
        Table(path, COLUMNS, count=3)
    assert str(caught.value) == (
        f"{path}: has 2 complete rows, but the checkpoint was saved after 3; "
        "remove the folder to begin the training again"
    )
    assert path.read_text() == content


# Appends to the file and keeps it open until the process is killed.
HOLD = """
import sys
from pathlib import Path
from contract.records import GrowingFile
with GrowingFile(Path(sys.argv[1])) as file:
    file.append(b"first")
    print("opened", flush=True)
    sys.stdin.read()
"""


def test_a_second_training_cannot_write_to_the_same_file(tmp_path):
    path = tmp_path / "log.csv"
    command = [sys.executable, "-c", HOLD, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == "opened\n"
        with pytest.raises(InputError) as caught:
            GrowingFile(path)
        assert str(caught.value) == (
            f"{path}: another training writes to this file; "
            "wait for it to end, or choose another folder"
        )
        assert path.read_text() == "first"
        process.kill()
    GrowingFile(path).append(b"second")
    assert path.read_text() == "second"


STEPS = [
    {"step": 1, "epoch": 1, "loss": 3.0, "seconds": 0.5},
    {"step": 2, "epoch": 1, "loss": 2.0, "seconds": 0.3},
    {"step": 3, "epoch": 2, "loss": 1.0, "seconds": 0.1},
]
EPOCHS = [{"step": 2, "valid_loss": 2.5}, {"step": 3, "valid_loss": 2.75}]


def test_the_summary_of_a_completed_training():
    assert summary(STEPS, EPOCHS, 42, "a machine", 336) == {
        "status": "completed",
        "steps": 3,
        "best_valid_loss": 2.5,
        "final_loss": 1.0,
        "seconds_per_step": 0.3,
        "parameters": 42,
        "hardware": "a machine",
        "optimizer_bytes": 336,
    }
    assert list(summary(STEPS, EPOCHS, 42, "a machine", 336)) == list(
        TrainingSummary.__annotations__
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_the_summary_of_a_training_that_diverged(loss):
    steps = [*STEPS, {"step": 4, "epoch": 2, "loss": loss, "seconds": 0.1}]
    diverged = summary(steps, EPOCHS, 42, "a machine", 336)
    assert (diverged["status"], diverged["steps"]) == ("diverged", 4)
    assert (diverged["final_loss"], diverged["best_valid_loss"]) == (None, 2.5)
    diverged = summary(STEPS, [{"step": 3, "valid_loss": loss}], 42, "a machine", 336)
    assert (diverged["status"], diverged["steps"]) == ("diverged", 3)
    assert (diverged["final_loss"], diverged["best_valid_loss"]) == (1.0, None)


def test_before_the_first_finite_validation_the_initial_weights_are_the_best():
    initial = {"step": 0, "valid_loss": math.inf}
    assert best([]) == initial
    assert best([{"step": 2, "valid_loss": math.nan}]) == initial
    assert best(EPOCHS) == EPOCHS[0]


def test_the_row_of_a_validation():
    row = validation_row(2, 6, [3.0, 1.0], valid_loss=2.5, best_loss=2.25)
    assert row == {
        "epoch": 2,
        "step": 6,
        "train_loss": 2.0,
        "valid_loss": 2.5,
        "best_valid_loss": 2.25,
    }
    assert tuple(row) == EPOCH_COLUMNS
    assert validation_row(2, 6, [3.0], valid_loss=2.0, best_loss=2.25)["best_valid_loss"] == 2.0
    assert validation_row(1, 3, [3.0], valid_loss=2.0, best_loss=math.inf)["best_valid_loss"] == 2.0


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_never_the_best(loss):
    assert math.isnan(validation_row(1, 3, [3.0], loss, math.inf)["best_valid_loss"])
    assert validation_row(2, 6, [3.0], loss, 2.25)["best_valid_loss"] == 2.25


def test_the_line_of_a_training_that_diverged():
    assert divergence(math.nan, 2) == "diverged: the loss of step 2 is nan"
    assert divergence(math.inf, 6, in_validation=True) == (
        "diverged: the validation loss after step 6 is inf"
    )
