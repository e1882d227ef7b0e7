"""Trainings that are killed, and end as if they had not been."""

import random
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

MODEL = Path("models/svoice/model.pt")
RESULTS = Path("results/svoice")
SCRATCH = Path("scratch")

# Everything that a checkpoint has to hold: two moments, a rate that depends on the past losses
# and on the step.
NADAM = {"name": "nadam", "svoice": {"lr": 5e-3, "momentum_decay": 4e-3}}
ADAM = {"name": "adam", "svoice": {"lr": 5e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}}
PLATEAU = {"name": "plateau", "patience": 0, "factor": 0.5, "warmup_steps": 13}
COSINE = {"name": "cosine", "floor": 0.1, "warmup_steps": 3}

EVERY_STEP = (
    "import svoice.training; svoice.training.CHECKPOINT_SECONDS = 0; "
    "import svoice.train; svoice.train.main()"
)


@pytest.fixture
def every_step(command):
    """The trainer with a checkpoint after every step."""
    command.trainer = [sys.executable, "-c", EVERY_STEP]


def outcome():
    """All that a training leaves but for the seconds in it."""
    steps = (RESULTS / "steps.csv").read_text().splitlines()
    return [line.rsplit(",", 1)[0] for line in steps], (RESULTS / "epochs.csv").read_text()


def weights():
    return torch.load(MODEL, weights_only=True)["state_dict"]


def train(command):
    finished = command.run("train")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout


def count_lines(path):
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def kill(process, rows, delay):
    """Kill a training `delay` seconds after it has written the header and so many rows."""
    with process:
        while count_lines(SCRATCH / "steps.csv") <= rows and process.poll() is None:
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
    assert process.returncode == -9, process.stderr.read()


def under_fire(command, set_params, tiny, **groups):
    """Train undisturbed, then killed five times at random, and compare."""
    svoice = {**tiny.params["svoice"], "epochs": 3, "batch_size": 2}
    set_params(tiny, svoice=svoice, **groups)
    started = time.monotonic()
    train(command)
    duration = time.monotonic() - started
    expected, expected_weights = outcome(), weights()
    total = len(expected[0]) - 1

    seed = random.randrange(1 << 32)
    print(f"moments drawn from the seed {seed}")
    moments = random.Random(seed)
    # Twice at any time, mostly of the start-up; then ever later in the training.
    for _ in range(2):
        with command.start("train") as process:
            time.sleep(moments.uniform(0, duration / 2))
            process.kill()
        assert process.returncode == -9
    for epoch in range(3):
        rows = moments.randint(epoch * total // 3, min((epoch + 1) * total // 3, total - 4))
        kill(command.start("train"), rows, moments.uniform(0, 0.03))
    resumed = train(command).splitlines()[0]
    assert resumed.startswith("resuming after ")
    assert outcome() == expected
    found = weights()
    assert found.keys() == expected_weights.keys()
    assert all(torch.equal(found[name], expected_weights[name]) for name in found)
    assert list(SCRATCH.iterdir()) == []
    return resumed


def test_checkpoints_at_validations(tiny, command, set_params):
    resumed = under_fire(command, set_params, tiny, optimizer=NADAM, schedule=PLATEAU)
    assert resumed == "resuming after epoch 2 of 3"


def test_checkpoints_at_every_step(tiny, command, set_params, every_step):
    resumed = under_fire(command, set_params, tiny, optimizer=ADAM, schedule=COSINE)
    assert resumed.startswith("resuming after step ")


def test_checkpoints_by_time(tiny, command, set_params):
    """Inside an epoch when it is time, and not before."""
    command.trainer[1:] = ["-c", EVERY_STEP.replace("= 0", "= 0.3")]
    set_params(tiny, svoice={**tiny.params["svoice"], "epochs": 2, "batch_size": 1})
    saved = set()
    with command.start("train") as process:
        while process.poll() is None:
            with suppress(FileNotFoundError):
                saved.add((SCRATCH / "checkpoint.pt").stat().st_mtime_ns)
            time.sleep(0.001)
    assert 2 < len(saved) < len(outcome()[0]) - 1


def test_an_epoch_may_end_in_a_checkpoint_before_its_validation(tiny, command, set_params):
    """Killed in the validation that follows the epoch's last step."""
    set_params(tiny, svoice={**tiny.params["svoice"], "epochs": 1})
    train(command)
    expected, expected_weights = outcome(), weights()
    command.trainer[1:] = [
        "-c",
        EVERY_STEP.replace(
            "import svoice.train;",
            "import os; svoice.training.validate = lambda *_: os.kill(os.getpid(), 9); "
            "import svoice.train;",
        ),
    ]
    assert command.run("train").returncode == -9
    command.trainer[1:] = ["-m", "svoice.train"]
    steps = len(expected[0]) - 1
    assert train(command).splitlines()[0] == f"resuming after step {steps}, in epoch 1 of 1"
    assert outcome() == expected
    assert all(torch.equal(weights()[name], expected_weights[name]) for name in expected_weights)


def test_two_at_once_are_refused(tiny, command, set_params):
    set_params(tiny, svoice={**tiny.params["svoice"], "epochs": 1000})
    with command.start("train") as process:
        while not count_lines(SCRATCH / "steps.csv") and process.poll() is None:
            time.sleep(0.001)
        second = command.run("train")
        process.kill()
    assert second.returncode == 1
    assert second.stderr == (
        "ERROR: scratch/steps.csv: found another process at work, "
        "expected one training in a folder\n"
    )
