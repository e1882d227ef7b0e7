"""Several processes, as torchrun starts them, against one."""

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
from svoice.training import make_network
from svoice.validation import validate

MODEL = Path("models/svoice/model.pt")
RESULTS = Path("results/svoice")
SCRATCH = Path("scratch")

ADAM = {"name": "adam", "svoice": {"lr": 5e-4, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}}


@pytest.fixture
def published(tiny, set_params):
    """The study's training but for the network's and the batches' size."""
    set_params(
        tiny,
        optimizer=ADAM,
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


def assert_close(found, expected):
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5), name
    assert found[2]["configuration"] == expected[2]["configuration"]
    for name, weights in expected[2]["state_dict"].items():
        torch.testing.assert_close(found[2]["state_dict"][name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("processes", "batch_size", "accumulation_steps"),
    [
        (2, 3, 1),  # uneven shares
        (2, 4, 2),
        (3, 2, 1),  # a process without an example in any batch
    ],
)
def test_the_same_as_one_process(
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
    assert [line for line in finished.stdout.splitlines() if line.startswith("epoch")] == (
        finished.stdout.splitlines()
    )
    assert len(finished.stdout.splitlines()) == 2
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
with distributed.processes():
    params = read_yaml(Path("params.yaml"))
    items = read_list("data/csv/speech/valid.csv", 2, 8000)
    line = validate(make_network(params), items, "fp32").hex() + "\\n"
os.write(1, line.encode())  # at once: the processes write to the same pipe
"""


def test_validation_is_one_processs_to_the_bit(published, command):
    items = read_list("data/csv/speech/valid.csv", 2, 8000)
    expected = validate(make_network(published.params), items, "fp32")
    Path("validation.py").write_text(VALIDATION)
    command.trainer = command.torchrun(3, [sys.executable, "validation.py"])
    assert train_once(command).stdout.split() == [expected.hex()] * 3


def test_resumes(published, command):
    """After one of the processes was killed, inside an epoch; and alone after that."""
    train_once(command)
    expected = outcome()
    total = len(expected[0]["loss"])
    one = command.every_step
    for trainer, rows in ((command.torchrun(2, one), total // 4), (one, 2 * total // 3)):
        command.trainer = trainer
        with command.start("train") as process:
            steps = SCRATCH / "steps.csv"
            while not (steps.exists() and steps.read_bytes().count(b"\n") > rows):
                assert process.poll() is None
                time.sleep(0.001)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            os.kill(int((children.split() or [process.pid])[-1]), signal.SIGKILL)
            assert process.wait(60) != 0
    command.trainer = command.torchrun(2)
    assert train_once(command).stdout.startswith("resuming after step ")
    assert_close(outcome(), expected)


def refusal(command):
    finished = command.run("train")
    assert finished.returncode == 1
    # torchrun says of itself that a process failed, at length.
    assert "svoice/train" not in finished.stderr
    (line,) = [line for line in finished.stderr.splitlines() if "ERROR: " in line]
    return line


def test_what_all_find_wrong_is_said_once(published, command):
    (Path("data/csv/speech") / "valid.csv").unlink()
    command.trainer = command.torchrun(2)
    assert refusal(command) == (
        "ERROR: data/csv/speech/valid.csv: found no file, expected a list of mixtures"
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_finds_wrong_ends_all(published, command, rank):
    """A file that vanishes from under one process, as a disk of one machine may."""
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
    started = time.monotonic()
    assert refusal(command).startswith("ERROR: gone.wav: found no readable audio (")
    assert time.monotonic() - started < 60
