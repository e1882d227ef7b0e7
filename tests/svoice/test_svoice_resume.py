"""Trainings that are killed, and end as if they had not been."""

import random
import time
from contextlib import suppress
from pathlib import Path

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


def under_fire(command, set_params, tiny, **groups):
    """Train undisturbed, then killed five times at random, and compare. → what the last start
    said first"""
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
            time.sleep(moments.uniform(0, duration / 3))
            process.kill()
        assert process.returncode == -9
    for epoch in range(3):
        first, last = epoch * total // 3 + 1, (epoch + 1) * total // 3
        rows = moments.randint(first, min(last, total - 4))
        with command.started(rows):
            time.sleep(moments.uniform(0, 0.03))
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


def test_checkpoints_at_every_step(tiny, command, set_params):
    command.trainer = command.every_step
    under_fire(command, set_params, tiny, optimizer=ADAM, schedule=COSINE)


def test_checkpoints_by_time(tiny, command, set_params):
    """Inside an epoch when it is time, and not before."""
    command.trainer = [part.replace("= 0", "= 0.3") for part in command.every_step]
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
    dying = "import os; svoice.training.validate = lambda *_: os.kill(os.getpid(), 9)\nimport "
    command.trainer = [
        part.replace("import svoice.train\n", f"{dying}svoice.train\n")
        for part in command.every_step
    ]
    assert command.run("train").returncode == -9
    command.trainer = command.module
    steps = len(expected[0]) - 1
    assert train(command).splitlines()[0] == f"resuming after step {steps}, in epoch 1 of 1"
    assert outcome() == expected
    assert all(torch.equal(weights()[name], expected_weights[name]) for name in expected_weights)


def test_two_at_once_are_refused(tiny, command, set_params):
    set_params(tiny, svoice={**tiny.params["svoice"], "epochs": 1000})
    with command.started(0):
        second = command.run("train")
    assert second.returncode == 1
    assert second.stderr == (
        "ERROR: scratch/steps.csv: found another process at work, "
        "expected one training in a folder\n"
    )
