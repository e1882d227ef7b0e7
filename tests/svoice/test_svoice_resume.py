"""A training that was killed and resumed ends like an uninterrupted one."""

import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import in_ci
from tests.svoice import conftest
from tests.svoice.conftest import BETAS

MODEL = Path("models/svoice/model.pt")
RESULTS = Path("results/svoice")
SCRATCH = Path("scratch")

# These have all that a checkpoint has to hold: two moments per weight, and a learning rate that
# depends on the losses so far and on the step.
NADAM = {"name": "nadam", "svoice": {"lr": 5e-3, **BETAS, "momentum_decay": 4e-3}}
ADAM = {"name": "adam", "svoice": {"lr": 5e-3, **conftest.ADAM}}
PLATEAU = {"name": "plateau", "patience": 0, "factor": 0.5, "warmup_steps": 13}
COSINE = {"name": "cosine", "floor": 0.1, "warmup_steps": 3}
SCHEDULEFREE = {"name": "schedulefree", "svoice": {"lr": 5e-3, **BETAS, "weight_decay": 0.1}}
MUON = {
    "name": "muon",
    "svoice": {"lr": 5e-3, "momentum": 0.95, **BETAS, "weight_decay": 0.1},
}
LION = {"name": "lion", "svoice": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1}}
PRODIGY = {
    "name": "prodigy",
    "svoice": {"lr": 1.0, **BETAS, "weight_decay": 0.1, "d_coef": 100.0, "d0": 1e-6},
}
WARMING = {"name": "constant", "warmup_steps": 13}
WSD = {"name": "wsd", "decay": 0.5, "warmup_steps": 3}
AUTOCLIP = {"name": "autoclip", "percentile": 10.0}


def outcome():
    """Returns steps.csv without the column of seconds, and epochs.csv."""
    steps = (RESULTS / "steps.csv").read_text().splitlines()
    return [line.rsplit(",", 1)[0] for line in steps], (RESULTS / "epochs.csv").read_text()


def weights():
    return torch.load(MODEL, weights_only=True)["state_dict"]


def train(command, **how):
    finished = command.run("train", **how)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout


def train_under_fire(command, set_params, tiny, **groups):
    """Trains without interruption, and again with five kills at random moments, and compares both.

    Returns:
        The first line that the last start has printed.
    """
    svoice = {**tiny.params["svoice"], "epochs": 3, "batch_size": 2}
    set_params(tiny, svoice=svoice, **groups)
    started = time.monotonic()
    train(command, new_python=True)
    duration = time.monotonic() - started
    expected, expected_weights = outcome(), weights()
    total = len(expected[0]) - 1

    seed = random.randrange(1 << 32)
    print(f"the moments are drawn with the seed {seed}")
    moments = random.Random(seed)
    # Two kills are at any time, mostly while Python starts. The others are later and later in the
    # training.
    for _ in range(2):
        with command.start_new_python("train") as process:
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
    actual = weights()
    assert actual.keys() == expected_weights.keys()
    assert all(torch.equal(actual[name], expected_weights[name]) for name in actual)
    assert list(SCRATCH.iterdir()) == []
    return resumed


def test_checkpoints_at_validations(tiny, command, set_params):
    resumed = train_under_fire(command, set_params, tiny, optimizer=NADAM, schedule=PLATEAU)
    assert resumed == "resuming after epoch 2 of 3"


@pytest.mark.parametrize(
    "groups",
    [
        {"optimizer": MUON, "schedule": WSD, "clipping": AUTOCLIP},
        {"optimizer": SCHEDULEFREE, "schedule": WARMING},
        *in_ci(
            {"optimizer": ADAM, "schedule": COSINE},
            {"optimizer": LION, "schedule": COSINE, "clipping": AUTOCLIP},
            {"optimizer": PRODIGY, "schedule": WSD, "clipping": AUTOCLIP},
            {"optimizer": SCHEDULEFREE, "schedule": WARMING, "clipping": AUTOCLIP},
        ),
    ],
    ids=lambda groups: "-".join(group["name"] for group in groups.values()),
)
def test_checkpoints_at_every_step(tiny, command, set_params, groups):
    command.trainer = command.every_step
    train_under_fire(command, set_params, tiny, **groups)


# A training with a clock of its own: a step takes 1 s, a row of steps.csv 10 s, and a checkpoint
# 100 s. It prints after which steps it has saved a checkpoint.
TIMED = """
from svoice import checkpoint, records, stepper, train, training

seconds = 0

def lasting(function, duration):
    def timed(*arguments, **values):
        global seconds
        seconds += duration
        return function(*arguments, **values)
    return timed

def save(path, configuration, state):
    print("saved after step", state["step"])

training.perf_counter = lambda: seconds
training.CHECKPOINT_SECONDS = 40
stepper.Stepper.step = lasting(stepper.Stepper.step, 1)
records.Records.step = lasting(records.Records.step, 10)
checkpoint.save_checkpoint = lasting(save, 100)
train.main()
"""


def test_checkpoints_by_time(tiny, command, set_params):
    """A checkpoint is saved within an epoch when it is time, and not before."""
    command.trainer = [sys.executable, "-c", TIMED]
    set_params(tiny, svoice={**tiny.params["svoice"], "epochs": 2, "batch_size": 1})
    lines = train(command).splitlines()
    steps = len(outcome()[0]) - 1
    expected, last = [], 0
    for step in range(1, steps + 1):
        # The clock is read before the row is written, so 40 s have passed at the fifth step.
        if step - last == 5:
            expected.append(step)
            last = step
        if step in (steps // 2, steps):  # the end of an epoch
            expected.append(step)
            last = step
    assert len(expected) > 6
    saved = [line for line in lines if line.startswith("saved after step ")]
    assert saved == [f"saved after step {step}" for step in expected]


def test_the_seconds_of_a_step_are_its_own(tiny, command, set_params):
    """Neither its row in the records nor a checkpoint counts in the step that follows."""
    command.trainer = [sys.executable, "-c", TIMED]
    set_params(tiny, svoice={**tiny.params["svoice"], "batch_size": 1})
    train(command)
    steps = (RESULTS / "steps.csv").read_text().splitlines()[1:]
    assert len(steps) > 10
    assert {line.rsplit(",", 1)[1] for line in steps} == {"1"}


def test_a_training_that_was_killed_in_a_validation_resumes_with_it(tiny, command, set_params):
    """The last checkpoint was saved after the last step of the epoch."""
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


# Waits for SIGTERM where the test says, so that it comes neither earlier nor later.
WAIT = """
import time
from contract import termination
import {module}
wrapped, calls = {module}.{name}, 0
def wait_and_call(*arguments, **values):
    global calls
    calls += 1
    while calls == {call} and not termination.requested():
        open("waiting", "w").close()
        time.sleep(0.01)
    return wrapped(*arguments, **values)
{module}.{name} = wait_and_call
import svoice.train
svoice.train.main()
"""


def terminate(command, module, name, call, code=128 + signal.SIGTERM):
    """Trains until SIGTERM comes in a call of a function, and returns what it prints."""
    command.trainer = [sys.executable, "-c", WAIT.format(module=module, name=name, call=call)]
    with command.start("train") as process:
        while not Path("waiting").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        Path("waiting").unlink()
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate()
    command.trainer = command.module
    assert (process.returncode, errors) == (code, "")
    return output.splitlines()


def test_sigterm_saves_the_step_and_ends_a_validation(tiny, command, set_params):
    """The training that is resumed three times is that without interruption."""
    svoice = {**tiny.params["svoice"], "epochs": 3, "batch_size": 2}
    groups = {"optimizer": SCHEDULEFREE, "schedule": PLATEAU, "clipping": AUTOCLIP}
    set_params(tiny, svoice=svoice, **groups)
    train(command)
    expected, expected_weights = outcome(), weights()
    steps = (len(expected[0]) - 1) // 3
    assert steps > 4

    step, item = "svoice.stepper", "svoice.validation"
    assert terminate(command, step, "batch_loss", 4) == [ended_after(4)]
    first, last = terminate(command, step, "batch_loss", 1)
    assert (first, last) == ("resuming after step 4, in epoch 1 of 3", ended_after(5))
    # The first utterance of the second validation.
    items = len(Path("data/csv/speech/valid.csv").read_text().splitlines()) - 1
    first, _, last = terminate(command, item, "batch_loss", items + 1)
    assert (first, last) == ("resuming after step 5, in epoch 1 of 3", ended_after(2 * steps))
    # When all is done, nothing ends early any more.
    first, *_ = terminate(command, "svoice.training", "Training._empty_scratch", 1, code=0)
    assert first == f"resuming after step {2 * steps}, in epoch 2 of 3"
    assert outcome() == expected
    actual = weights()
    assert actual.keys() == expected_weights.keys()
    assert all(torch.equal(actual[name], expected_weights[name]) for name in actual)
    assert list(SCRATCH.iterdir()) == []


def ended_after(step):
    return f"ended by SIGTERM: the same command goes on after step {step}"


def test_a_second_training_in_the_same_folder_is_refused(tiny, command, set_params):
    set_params(tiny, svoice={**tiny.params["svoice"], "epochs": 1000})
    with command.started(0):
        second = command.run("train")
    assert second.returncode == 1
    assert second.stderr == (
        "ERROR: scratch/steps.csv: another training writes to this file; "
        "wait for it to end, or choose another folder\n"
    )
