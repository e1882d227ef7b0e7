"""The commands of `python -m spleeter_mod` and of stock `spleeter`, run as a user runs them."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import forked
from tests.conftest import TEST_DATA
from tests.spleeter_mod.material import STUDY

ROOT = Path(__file__).resolve().parents[2]
STEPS, EPOCH = 9, 3
CONFIGURATION = {
    **STUDY,
    **{"T": 64, "F": 256, "chunk_duration": 2.0, "batch_size": 2},
    **{"train_max_steps": STEPS, "save_checkpoints_steps": EPOCH, "save_summary_steps": 2},
    "model": {
        "type": "unet.unet",
        "params": {**STUDY["model"]["params"], "conv_n_filters": [4, 4, 8, 8, 16, 16]},
    },
}
TRAIN = ("spleeter_mod", "train", "-p", "config.json", "-d", "music", "--verbose")


class Place:
    """A folder with a configuration and its lists, in which commands run."""

    def __init__(self, root):
        self.root = root
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(self, module, *arguments, **options):
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, cwd=self.root, text=True, env=self.environment, **options)

    def __call__(self, module, *arguments, **env):
        # Spleeter reads MODEL_PATH when it is imported, which only training can do without.
        fork = arguments[0] == "train"
        command = [sys.executable, "-m", module, *arguments]
        done = forked.run_any(command, self.root, self.environment | env, fork=fork)
        return done.returncode, done.stdout, done.stderr

    def rows(self, name):
        with (self.root / "musdb_model" / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def mixture(self):
        (song,) = (self.root / "music" / "test").iterdir()
        return song / "mixture.wav"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A place where a training was killed after its second validation, and completed."""
    place = Place(tmp_path_factory.mktemp("study"))
    (place.root / "music").symlink_to(TEST_DATA / "data" / "music")
    (place.root / "configs").mkdir()
    for our_name, stock_name in (("train", "train"), ("valid", "validation")):
        text = (TEST_DATA / "data" / "csv" / "music" / f"{our_name}.csv").read_text()
        text = text.replace("data/music/", "")
        (place.root / "configs" / f"musdb_{stock_name}.csv").write_text(text)
    (place.root / "config.json").write_text(json.dumps(CONFIGURATION))
    with place.start(*TRAIN, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if line.startswith("step 8:"):
                process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (place.root / "musdb_model").exists()
    place.finished = place(*TRAIN)
    return place


def test_train_resumes_and_writes_a_model_with_its_curves(trained):
    code, out, errors = trained.finished
    assert (code, errors) == (0, "")
    first, second, *lines = out.splitlines()
    assert first.startswith("config.json: throttle_secs is not used: ")
    assert second == f"resuming after step 6 of {STEPS}"
    assert lines[0].startswith("step 8: loss ")
    assert lines[-1] == "the model is in musdb_model"
    # There is a row for every second step, and for the last step before each validation.
    assert [int(row["step"]) for row in trained.rows("steps.csv")] == [2, 3, 4, 6, 8, 9]
    epochs = trained.rows("epochs.csv")
    assert [int(row["step"]) for row in epochs] == [3, 6, 9]
    steps = [float(row["loss"]) for row in trained.rows("steps.csv") if row["epoch"] == "1"]
    assert float(epochs[0]["train_loss"]) == pytest.approx(sum(steps) / 2, rel=1e-12)
    summary = json.loads((trained.root / "musdb_model" / "train.json").read_text())
    assert (summary["status"], summary["steps"]) == ("completed", STEPS)
    left = (trained.root / "scratch" / "spleeter").iterdir()
    # The lock stays, because another process may be waiting for it.
    assert [path.suffix for path in left] == [".lock"]


def test_the_same_command_again_makes_the_same_model(trained):
    """Without interruption, in another place."""
    other = Place(trained.root.parent / "again")
    shutil.copytree(trained.root, other.root, symlinks=True)
    shutil.rmtree(other.root / "musdb_model")
    code, _, errors = other(*TRAIN)
    assert (code, errors) == (0, "")
    for name in ("model.data-00000-of-00001", "epochs.csv"):
        actual, expected = (
            (place.root / "musdb_model" / name).read_bytes() for place in (other, trained)
        )
        assert actual == expected, name


def separated(place, module, folder, **env):
    mixture = place.mixture()
    command = (module, "separate", "-p", "config.json", "-o", folder, str(mixture))
    code, _, errors = place(*command, **env)
    assert code == 0, errors
    return {
        path.stem: soundfile.read(path, dtype="float32")[0]
        for path in (place.root / folder / "mixture").iterdir()
    }


def test_stock_spleeter_separates_with_the_model(trained):
    ours = separated(trained, "spleeter_mod", "ours")
    stock = separated(trained, "spleeter", "stock", MODEL_PATH=".")
    mixture, _ = soundfile.read(trained.mixture())
    assert set(ours) == set(stock) == set(CONFIGURATION["instrument_list"])
    for stem, samples in stock.items():
        assert samples.shape == mixture.shape
        assert np.abs(samples).max() > 0.001
        np.testing.assert_allclose(ours[stem], samples, atol=1e-5)


def test_evaluate_scores_the_test_songs(trained):
    command = ("evaluate", "-p", "config.json", "--mus_dir", "music", "-o", "evaluation")
    code, out, errors = trained("spleeter_mod", *command)
    assert code == 0, errors
    assert any("SDR: " in line for line in (out + errors).splitlines())
    (scores,) = (trained.root / "evaluation" / "metrics" / "test").iterdir()
    targets = json.loads(scores.read_text())["targets"]
    assert {target["name"] for target in targets} == {*CONFIGURATION["instrument_list"]}


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            ("train", "-p", "gone.json", "-d", "music"),
            "ERROR: gone.json: there is no such file; name Spleeter's configuration",
        ),
        (
            ("train", "-p", "config.json", "-d", "configs"),
            "ERROR: configs/musdb_train.csv, line 2: mix_path is 'train/The Easton Ellises - "
            "Falcon 69 (train)/mixture.wav', but there is no such file; "
            "correct the path, or restore the file",
        ),
        (
            ("separate", "-p", "gone.json", "config.json"),
            "ERROR: Configuration file gone.json not found",
        ),
    ],
)
def test_an_error_is_one_line(trained, command, line):
    code, _, errors = trained("spleeter_mod", *command)
    assert (code, errors) == (1, line + "\n")
