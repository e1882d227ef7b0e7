"""The presets of conf/spleeter/ start at the size that they state, and end by SIGTERM.

A full training takes days. Here it ends after the first step, saved, as one on a cluster would. The
memory that it has taken by then is a large part of what `contract.costs` expects of a whole one, in
which validations take some more.
"""

import csv
import signal

import numpy as np
import pytest
import soundfile

from contract import costs
from contract.model_settings import SpleeterSettings
from tests.conftest import in_ci
from tests.spleeter_mod.material import choice, optimizer_of

# Asks the training to end when it has recorded its first step.
END = """
import os, signal
from spleeter_mod import hooks
record = hooks.StepLog.after_run
def record_and_end(self, *arguments):
    record(self, *arguments)
    print(open("/proc/self/status").read())
    os.kill(os.getpid(), signal.SIGTERM)
hooks.StepLog.after_run = record_and_end
"""
ENDED = "ended by SIGTERM: the same command goes on after step 1"
MOST_SECONDS = 1200  # of the start, in which all batches of 200,000 steps are drawn
SECONDS = 13  # longer than T = 512 frames


@pytest.fixture
def songs(workspace):
    """The embedded excerpts, repeated until they are as long as the longest segment."""
    for split in ("train", "valid"):
        path = workspace.root / "data" / "csv" / "music" / f"{split}.csv"
        with path.open(newline="") as file:
            (row,) = csv.DictReader(file)
        for name in [name for name in row if name.endswith("_path")]:
            samples, rate = soundfile.read(workspace.root / row[name], dtype="int16")
            row[name] = f"{split}-{name}.wav"
            repeated = np.resize(samples, (SECONDS * rate, samples.shape[1]))
            soundfile.write(workspace.root / row[name], repeated, rate)
        row["duration"] = SECONDS
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, row)
            table.writeheader()
            table.writerow(row)


@pytest.mark.parametrize("preset", ["mini", *in_ci("musdb")])
def test_a_preset_starts_at_its_size(workspace, songs, command, preset):
    values = choice("spleeter", preset)
    workspace.params["spleeter"] = values
    workspace.params["optimizer"] = {"name": "adam", "spleeter": optimizer_of("adam", preset)}
    workspace.write_params()
    with command("train", workspace.root).start(END) as process:
        output, errors = process.communicate(MOST_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM, errors
    lines = output.splitlines()
    assert lines[-1] == ENDED
    (peak,) = (int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    expected = costs.spleeter_memory(SpleeterSettings.read(values))
    assert 0.5 * expected < peak < 1.2 * expected
