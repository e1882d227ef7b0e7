"""Training in several processes, as torchrun starts them, against training in one."""

import csv
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from svoice.data import read_list
from svoice.params import Params
from svoice.training import make_network
from svoice.validation import validate
from tests.conftest import in_ci
from tests.svoice.conftest import ADAM, BETAS, EVERY_STEP, HOLD

MODEL = Path("models/svoice/model.pt")
RESULTS = Path("results/svoice")
SCRATCH = Path("scratch")

OPTIMIZER = {"name": "adam", "svoice": {"lr": 5e-4, **ADAM}}


@pytest.fixture
def published(tiny, set_params):
    """The training of the study, with a smaller network and smaller batches."""
    set_params(
        tiny,
        optimizer=OPTIMIZER,
        clipping={"name": "norm", "max_norm": 5.0},
        schedule={"name": "step", "epochs": 2, "factor": 0.98, "warmup_steps": 0},
        svoice={**tiny.params["svoice"], "epochs": 2, "batch_size": 3},
    )
    return tiny


def train_once(command):
    finished = command.run("train")
    assert finished.returncode == 0, finished.stderr
    return finished


def columns(name):
    with open(RESULTS / name, newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) for row in rows] for key in rows[0] if key != "seconds"}


def outcome():
    return columns("steps.csv"), columns("epochs.csv"), torch.load(MODEL, weights_only=True)


def assert_close(actual, expected):
    for table, expected_table in zip(actual[:2], expected[:2], strict=True):
        assert table.keys() == expected_table.keys()
        for name in table:
            assert table[name] == pytest.approx(expected_table[name], rel=1e-5), name
    assert actual[2]["configuration"] == expected[2]["configuration"]
    for name, weights in expected[2]["state_dict"].items():
        torch.testing.assert_close(actual[2]["state_dict"][name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("processes", "batch_size", "accumulation_steps"),
    [
        (3, 2, 1),  # a process without an example in any batch
        *in_ci((2, 3, 1), (2, 4, 2)),  # uneven shares; accumulation
    ],
)
def test_several_processes_train_as_one(
    published, command, set_params, processes, batch_size, accumulation_steps
):
    svoice = {**published.params["svoice"], "batch_size": batch_size}
    set_params(published, svoice=svoice)
    train_once(command)
    expected = outcome()
    assert len(expected[0]["loss"]) >= 18
    set_params(published, svoice={**svoice, "accumulation_steps": accumulation_steps})
    command.trainer = command.torchrun(processes)
    finished = train_once(command)
    first, *epochs = finished.stdout.splitlines()
    assert first == f"{processes} processes share each batch"
    assert [line.split(":")[0] for line in epochs] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert_close(outcome(), expected)
    assert list(SCRATCH.iterdir()) == []


VALIDATION = """
import os
from pathlib import Path
from tests.yaml_files import read_yaml
from svoice import distributed
from svoice.data import read_list
from svoice.training import make_network
from svoice.validation import validate
from svoice.params import Params
with distributed.process_group():
    params = read_yaml(Path("configuration.yaml"))
    items = read_list("data/csv/speech/valid.csv", 2, 8000)
    line = validate(make_network(Params.of(params)), items, "fp32").hex() + "\\n"
os.write(1, line.encode())  # in one piece, as all processes write to the same pipe
distributed.leave()
"""


def test_the_validation_loss_is_exactly_that_of_one_process(published, command):
    items = read_list("data/csv/speech/valid.csv", 2, 8000)
    expected = validate(make_network(Params.of(published.params)), items, "fp32")
    Path("validation.py").write_text(VALIDATION)
    command.trainer = command.torchrun(3, [sys.executable, "validation.py"])
    assert train_once(command).stdout.split() == [expected.hex()] * 3


def test_a_killed_training_resumes_in_another_number_of_processes(published, command, set_params):
    """One of two processes is killed within an epoch, then one that trains alone.

    Each process has a copy of the average of the weights and of the norms of all steps so far.
    """
    set_params(
        published,
        optimizer={"name": "schedulefree", "svoice": {"lr": 1e-3, **BETAS, "weight_decay": 0.1}},
        clipping={"name": "autoclip", "percentile": 30.0},
    )
    train_once(command)
    expected = outcome()
    total = len(expected[0]["loss"])
    for processes, rows in ((2, total // 4), (1, 2 * total // 3)):
        # The training waits for its death a few steps later.
        program = [sys.executable, "-c", HOLD.format(step=rows + 3) + EVERY_STEP]
        command.trainer = command.torchrun(2, program) if processes == 2 else program
        with command.start("train") as process:
            steps = SCRATCH / "steps.csv"
            while not (steps.exists() and steps.read_bytes().count(b"\n") > rows):
                assert process.poll() is None, process.communicate()
                time.sleep(0.001)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            os.kill(int((children.split() or [process.pid])[-1]), signal.SIGKILL)
            assert process.wait(300) != 0
    command.trainer = command.torchrun(2)
    assert train_once(command).stdout.startswith("resuming after step ")
    assert_close(outcome(), expected)


# A process waits for SIGTERM in a step, so that it comes neither earlier nor later.
WAIT = """
import os, time
from contract import termination
from svoice.stepper import Stepper
take, steps = Stepper.step, 0
def wait_and_take(self, *arguments):
    global steps
    steps += 1
    while steps == {step} and os.environ["RANK"] == "{rank}" and not termination.requested():
        open("waiting", "w").write(str(os.getpid()))
        time.sleep(0.01)
    return take(self, *arguments)
Stepper.step = wait_and_take
import svoice.train
svoice.train.main()
"""


@pytest.mark.parametrize("of_all", [True, *in_ci(False)])
def test_sigterm_ends_all_processes_after_the_same_step(published, command, of_all):
    """A cluster sends it to torchrun, which passes it on, or to processes by themselves."""
    command.trainer = command.torchrun(2)
    train_once(command)
    expected = outcome()
    program = [sys.executable, "-c", WAIT.format(step=4, rank=1)]
    command.trainer = command.torchrun(2, program)
    with command.start("train") as process:
        waiting = Path("waiting")
        while not (waiting.exists() and waiting.read_text()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.kill(process.pid if of_all else int(waiting.read_text()), signal.SIGTERM)
        output, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    first, last = output.splitlines()
    assert first == "2 processes share each batch"
    assert last == "ended by SIGTERM: the same command goes on after step 4", errors
    command.trainer = command.torchrun(2)
    assert train_once(command).stdout.startswith("resuming after step 4, in epoch 1 of 2\n")
    assert_close(outcome(), expected)


def refusal(command):
    finished = command.run("train")
    assert finished.returncode == 1
    # torchrun itself prints many lines about a process that has failed.
    assert "svoice/train" not in finished.stderr
    (line,) = [line for line in finished.stderr.splitlines() if "ERROR: " in line]
    return line


def test_an_error_in_all_processes_is_printed_once(published, command):
    (Path("data/csv/speech") / "valid.csv").unlink()
    command.trainer = command.torchrun(2)
    assert refusal(command) == (
        "ERROR: data/csv/speech/valid.csv: there is no such file; "
        "make the lists with `dvc repro`, or correct the path"
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_process_ends_all(published, command, rank):
    """A file disappears for one process, as it does when the disk of one machine fails.

    The other process would wait for it for half an hour, and the test waits for five minutes.
    """
    listed = Path("data/csv/speech/train.csv")
    header, *rows = listed.read_text().splitlines()
    row = rows[0].split(",")
    shutil.copy(row[0], "copy.wav")
    listed.write_text("\n".join([header, ",".join(["copy.wav", *row[1:]]), *rows[1:]]) + "\n")
    program = (
        "import os, svoice.data as data, svoice.train as train; read = data.read_audio; "
        f"hide = os.environ['RANK'] == '{rank}'; "
        "data.read_audio = lambda path, start, length: "
        "read('gone.wav' if hide and path == 'copy.wav' else path, start, length); train.main()"
    )
    command.trainer = command.torchrun(2, [sys.executable, "-c", program])
    line = refusal(command)
    assert line.startswith("ERROR: gone.wav: cannot be read as audio (")
    assert line.endswith("); replace it with a WAV file")
