"""TensorBoard's event file against the CSV files, read by TensorBoard itself."""

import math
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from contract.events import Events, Records
from contract.records import EPOCH_COLUMNS, STEP_COLUMNS, Table
from tests.events import events, rows

RESULTS = Path("results/svoice")


def test_the_events_are_the_rows_of_the_tables(tiny, command):
    assert command.run("train").returncode == 0
    actual = events(RESULTS / "tensorboard")
    assert set(actual) == {
        *(f"train/{name}" for name in ("loss", "learning_rate", "gradient_norm", "seconds")),
        *(f"validation/{name}" for name in ("train_loss", "valid_loss", "best_valid_loss")),
    }
    assert actual == rows(RESULTS)


def test_a_killed_training_has_every_step_once(tiny, command, set_params):
    set_params(tiny, svoice={**tiny.params["svoice"], "batch_size": 2, "epochs": 3})
    command.trainer = command.every_step
    scratch = Path("scratch")
    for count in (5, 25):
        with command.started(count):
            # The file can be read while the training writes to it.
            live = events(scratch / "tensorboard")["train/loss"]
        assert count - 1 <= len(live) <= len(rows(scratch)["train/loss"])
    assert command.run("train").stdout.startswith("resuming after step ")
    assert events(RESULTS / "tensorboard") == rows(RESULTS)
    assert os.listdir(RESULTS / "tensorboard") == ["events.out.tfevents.svoice"]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_any_number_may_be_a_scalar(tmp_path, value):
    """A loss may be NaN, and the norm of a gradient may be too large for 32 bits."""
    with Events(tmp_path / "events.out.tfevents.test", 0) as file:
        file.scalars("train", 1, {"loss": value, "other": 1.0})
    actual = events(tmp_path)
    np.testing.assert_equal(actual["train/loss"][0][1], math.nan if value != value else math.inf)
    assert actual["train/other"] == [(1, 1.0)]


def test_tensorflow_is_never_imported(tmp_path, command):
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('TensorFlow was imported')")
    (tmp_path / "events").mkdir()
    program = (
        "import sys; from pathlib import Path; from svoice.records import Events\n"
        "with Events(Path(sys.argv[1]), 0) as file: file.scalars('train', 1, {'loss': 1.0})"
    )
    path = tmp_path / "events" / "events.out.tfevents.test"
    environment = {
        **command.environment,
        "PYTHONPATH": f"{tmp_path}:{command.environment['PYTHONPATH']}",
    }
    subprocess.run([sys.executable, "-c", program, path], env=environment, check=True)
    assert events(path.parent) == {"train/loss": [(1, 1.0)]}


@pytest.mark.parametrize("with_events", [True, False])
def test_records_are_in_the_tables_and_in_the_events_if_there_are_any(tmp_path, with_events):
    paths = tmp_path / "steps.csv", tmp_path / "epochs.csv"
    path = tmp_path / "tensorboard" / "events.out.tfevents.test"
    with (
        Table(paths[0], STEP_COLUMNS) as steps,
        Table(paths[1], EPOCH_COLUMNS) as epochs,
        Events(path) if with_events else nullcontext() as file,
    ):
        records = Records(tmp_path, steps, epochs, file)
        for step in (1, 2):
            records.step(**{**dict.fromkeys(STEP_COLUMNS, 0.5), "step": step, "epoch": 1})
        records.epoch(**{**dict.fromkeys(EPOCH_COLUMNS, 0.25), "epoch": 1, "step": 2})
        size = path.stat().st_size if with_events else 0
        assert records.sync() == (2, 1, size)
    assert path.exists() == with_events
    if with_events:
        assert events(path.parent) == rows(tmp_path)
