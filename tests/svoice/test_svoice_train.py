"""`svoice.train`, run as a user runs it, on real speech."""

import csv
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from svoice.checkpoint import load_model
from svoice.data import read_list
from svoice.network import SVoice
from svoice.validation import validate
from tests.svoice.conftest import BETAS

MODEL = Path("models/svoice/model.pt")
RESULTS = Path("results/svoice")
WARMING = {"name": "plateau", "patience": 0, "factor": 0.5, "warmup_steps": 13}
WARMING_UP = {"name": "constant", "warmup_steps": 3}
STEADY = {"name": "constant", "warmup_steps": 0}
# A training whose learning rate explodes after the first epoch.
GROWING = """
from contract import schedules
from svoice import train
schedules.FACTORS["constant"] = lambda settings, step, length: (
    1.0 if step < length.epoch else 1e33
)
train.main()
"""
EXPLOSIVE = {"name": "sgd", "svoice": {"lr": 1e30}}


@pytest.fixture
def steps_per_epoch(tiny):
    """The tiny configuration has segments of 0.25 s, one per half second, in batches of 4."""
    lengths = [int(row["length"]) for row in read("data/csv/speech/train.csv")]
    return math.ceil(sum(math.ceil(length / 4000) for length in lengths) / 4)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def steps_but_seconds():
    return [line.rsplit(",", 1)[0] for line in (RESULTS / "steps.csv").read_text().splitlines()]


def weights():
    return torch.load(MODEL, weights_only=True)["state_dict"]


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def files():
    return sorted(str(path) for top in ("models", "results") for path in Path(top).rglob("*.*"))


EVENTS = RESULTS / "tensorboard" / "events.out.tfevents.svoice"
OUTPUTS = [
    *map(str, (MODEL, RESULTS / "epochs.csv", RESULTS / "steps.csv", EVENTS)),
    str(RESULTS / "train.json"),
]


def train(command):
    finished = command.run("train")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert files() == OUTPUTS
    assert os.listdir("scratch") == []
    return finished


def test_a_training_writes_its_files(tiny, command, steps_per_epoch):
    finished = train(command)
    assert len(finished.stdout.splitlines()) == 2

    steps = read(RESULTS / "steps.csv")
    assert list(steps[0]) == ["step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds"]
    assert [int(row["step"]) for row in steps] == list(range(1, 2 * steps_per_epoch + 1))
    assert [int(row["epoch"]) for row in steps] == [1] * steps_per_epoch + [2] * steps_per_epoch
    losses = [float(row["loss"]) for row in steps]
    assert all(map(math.isfinite, losses))
    assert len(set(losses)) == len(losses)
    rate = tiny.params["optimizer"]["svoice"]["lr"]
    rates = [rate * (1 + math.cos(math.pi * k / len(steps))) / 2 for k in range(len(steps))]
    assert [float(row["learning_rate"]) for row in steps] == pytest.approx(rates)
    assert all(float(row["gradient_norm"]) > 0 and float(row["seconds"]) > 0 for row in steps)

    epochs = read(RESULTS / "epochs.csv")
    assert list(epochs[0]) == ["epoch", "step", "train_loss", "valid_loss", "best_valid_loss"]
    assert [(int(row["epoch"]), int(row["step"])) for row in epochs] == [
        (1, steps_per_epoch),
        (2, 2 * steps_per_epoch),
    ]
    parts = (losses[:steps_per_epoch], losses[steps_per_epoch:])
    for row, part in zip(epochs, parts, strict=True):
        assert float(row["train_loss"]) == pytest.approx(statistics.fmean(part), rel=1e-12)
    valid = [float(row["valid_loss"]) for row in epochs]
    assert [float(row["best_valid_loss"]) for row in epochs] == [valid[0], min(valid)]

    summary = json.loads((RESULTS / "train.json").read_text())
    model = torch.load(MODEL, weights_only=True)
    network = SVoice(**model["configuration"])
    network.load_state_dict(model["state_dict"])
    assert summary == {
        "status": "completed",
        "steps": 2 * steps_per_epoch,
        "best_valid_loss": min(valid),
        "final_loss": losses[-1],
        "seconds_per_step": statistics.median(float(row["seconds"]) for row in steps),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "hardware": summary["hardware"],
        # Two moments of each weight, and a number of steps for each parameter, of 4 bytes each.
        "optimizer_bytes": sum(8 * p.numel() + 4 for p in network.parameters()),
    }
    assert re.fullmatch(r"[1-9]\d* x \S.*", summary["hardware"])


@pytest.mark.parametrize("name", ["adam", "schedulefree"])
def test_the_kept_model_has_the_validation_loss_that_is_recorded(tiny, command, set_params, name):
    """Under schedulefree, these are other weights than those that are trained."""
    if name == "schedulefree":
        optimizer = {"name": name, "svoice": {"lr": 1e-2, **BETAS, "weight_decay": 0.0}}
        set_params(tiny, optimizer=optimizer, schedule=WARMING_UP)
    train(command)
    summary = json.loads((RESULTS / "train.json").read_text())
    items = read_list("data/csv/speech/valid.csv", 2, 8000)
    assert validate(load_model(MODEL), items, "fp32") == summary["best_valid_loss"]


def test_a_new_python_trains_without_a_word_on_stderr(tiny, command, set_params):
    """It imports all libraries by itself; any of them may warn of something when it does."""
    set_params(tiny, svoice={**tiny.params["svoice"], "epochs": 1})
    finished = command.run("train", new_python=True)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert len(finished.stdout.splitlines()) == 1
    assert files() == OUTPUTS


def test_the_seed_determines_the_training(tiny, command, set_params):
    set_params(tiny, svoice={**tiny.params["svoice"], "epochs": 1})
    train(command)
    first, first_weights = steps_but_seconds(), weights()
    train(command)
    assert steps_but_seconds() == first
    assert_equal_weights(weights(), first_weights)
    set_params(tiny, seed=1)
    train(command)
    assert steps_but_seconds()[1] != first[1]


def test_a_loss_of_nan_is_a_result(tiny, command, set_params):
    set_params(tiny, optimizer=EXPLOSIVE, schedule=STEADY, clipping={"name": "none"})
    finished = train(command)
    assert finished.stdout == "diverged: the loss of step 2 is nan\n"
    steps = read(RESULTS / "steps.csv")
    assert math.isfinite(float(steps[0]["loss"]))
    assert [row["loss"] for row in steps[1:]] == ["nan"]
    assert (RESULTS / "epochs.csv").read_text().count("\n") == 1
    summary = json.loads((RESULTS / "train.json").read_text())
    assert summary["status"] == "diverged"
    assert summary["steps"] == 2
    assert summary["best_valid_loss"] is summary["final_loss"] is None
    torch.manual_seed(tiny.params["seed"])
    configuration = torch.load(MODEL, weights_only=True)["configuration"]
    assert_equal_weights(weights(), SVoice(**configuration).state_dict())


def test_a_later_divergence_keeps_the_best_weights(tiny, command, set_params, steps_per_epoch):
    svoice = {**tiny.params["svoice"], "epochs": 1}
    set_params(tiny, schedule=STEADY, clipping={"name": "none"}, svoice=svoice)
    command.trainer = [sys.executable, "-c", GROWING]
    train(command)
    expected = weights()
    set_params(tiny, svoice={**svoice, "epochs": 3})
    train(command)
    epochs, steps = read(RESULTS / "epochs.csv"), read(RESULTS / "steps.csv")
    assert len(epochs) == 1
    assert steps[-1]["loss"] == "nan"
    summary = json.loads((RESULTS / "train.json").read_text())
    assert summary["status"] == "diverged"
    assert summary["steps"] == len(steps) == steps_per_epoch + 2
    assert summary["best_valid_loss"] == float(epochs[0]["valid_loss"])
    assert_equal_weights(weights(), expected)


def test_a_validation_loss_of_nan_is_a_result(tiny, command, set_params):
    set_params(
        tiny,
        optimizer=EXPLOSIVE,
        schedule=STEADY,
        clipping={"name": "none"},
        svoice={**tiny.params["svoice"], "batch_size": 64},
    )
    finished = train(command)
    assert finished.stdout.splitlines()[-1] == ("diverged: the validation loss after step 1 is nan")
    (row,) = read(RESULTS / "epochs.csv")
    assert row["valid_loss"] == row["best_valid_loss"] == "nan"
    summary = json.loads((RESULTS / "train.json").read_text())
    assert summary["status"] == "diverged"
    assert summary["steps"] == 1
    assert math.isfinite(summary["final_loss"])
    assert summary["best_valid_loss"] is None


def test_the_checkpoint_of_another_configuration_is_refused(tiny, command, set_params):
    command.trainer = command.every_step
    with command.started(2):
        pass
    command.trainer = command.module
    set_params(tiny, seed=1)
    finished = command.run("train")
    assert finished.returncode == 1
    assert finished.stderr == (
        "ERROR: scratch/checkpoint.pt: belongs to another configuration; "
        "remove it, or restore that configuration\n"
    )


@pytest.fixture
def small_disk(tmp_path):
    """A function that puts a folder on a disk of its own, of a size in KiB."""
    mounted = []

    def mount(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        finished = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder], capture_output=True
        )
        if finished.returncode:
            pytest.skip("needs root, to mount a small file system")
        mounted.append(folder)

    def unmount(folder):
        subprocess.run(["umount", folder], check=True)
        mounted.remove(folder)

    mount.undo = unmount
    yield mount
    for folder in list(mounted):
        unmount(folder)


def test_a_full_disk_loses_nothing(tiny, command, small_disk, steps_per_epoch):
    RESULTS.mkdir(parents=True)
    (RESULTS / "steps.csv").write_text("an earlier run's")
    small_disk(tiny.root / "models", 16)
    finished = command.run("train")
    assert finished.returncode == 1
    assert finished.stderr == (
        "ERROR: models/svoice/model.pt: no space left on device; "
        "make room on its disk and repeat the command\n"
    )
    assert files() == [str(RESULTS / "steps.csv")]
    assert (RESULTS / "steps.csv").read_text() == "an earlier run's"
    small_disk.undo(tiny.root / "models")
    # Only the outputs are left to be written.
    assert train(command).stdout == "resuming after epoch 2 of 2\n"
    assert len(read(RESULTS / "steps.csv")) == 2 * steps_per_epoch


def test_a_full_scratch_disk_stops_the_training(tiny, command, small_disk):
    small_disk(tiny.root / "scratch", 64)
    finished = command.run("train")
    assert finished.returncode == 1
    assert finished.stderr == (
        "ERROR: scratch/checkpoint.pt: no space left on device; "
        "make room on its disk and repeat the command\n"
    )
    assert files() == []
