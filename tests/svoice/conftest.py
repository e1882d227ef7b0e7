"""What the tests of the SVoice trainer share."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import forked
from tests.yaml_files import read_yaml

# Networks this small gain nothing from threads, which on busy cores lose much time by waiting for
# each other. This is set before PyTorch is imported; the commands that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(workspace, monkeypatch):
    """The workspace as the working directory, with the smallest network that trains."""
    workspace.params["svoice"].update(N=32, L=8, H=8, R=2, epochs=2)
    workspace.params["svoice"].update(segment_seconds=0.25, stride_seconds=0.5, batch_size=4)
    workspace.write_params()
    monkeypatch.chdir(workspace.root)
    return workspace


# Settings of Adam and its relatives besides the learning rate, as a configuration has them.
BETAS = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
ADAM = {**BETAS, "epsilon_before_correction": False}
EVERY_STEP = """
import svoice.training
svoice.training.CHECKPOINT_SECONDS = 0
import svoice.train
svoice.train.main()
"""

# The training waits for its death when a step has been recorded, in case whoever kills it is late.
HOLD = """
import signal
from svoice.records import Records
record = Records.step
def record_and_hold(self, **values):
    record(self, **values)
    if values["step"] >= {step}:
        signal.pause()
Records.step = record_and_hold
"""


class Command:
    """A command of svoice, run as a user runs it.

    Attributes:
        module: starts svoice.train.
        every_step: starts svoice.train with a checkpoint after every step.
        environment: the environment variables of the command.
        trainer: what `run("train")` starts; tests change it to start the training in another way.
    """

    def __init__(self):
        self.module = [sys.executable, "-m", "svoice.train"]
        self.every_step = [sys.executable, "-c", EVERY_STEP]
        # The processes find each other by the loopback interface, whatever this machine's name is.
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
        self.trainer = self.module
        self._usual_environment = dict(self.environment)

    def torchrun(self, processes, program=None):
        """Returns what starts a program, by default the trainer, in several processes."""
        run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return [sys.executable, *run, "--no-python", *(program or self.module)]

    def arguments(self, name, *arguments):
        """Returns the whole command line of svoice.<name>."""
        if name != "train":
            return [sys.executable, "-m", f"svoice.{name}", "--params", "configuration.yaml"]
        return [
            *self.trainer,
            *(arguments or ("--params", "configuration.yaml", "--scratch", "scratch")),
        ]

    def start(self, *name_and_arguments):
        """Starts a command and does not wait for it."""
        _, *arguments = self.arguments(*name_and_arguments)
        # What PyTorch reads from the environment, it reads when it is imported.
        if "torch.distributed.run" in arguments or self.environment != self._usual_environment:
            return self.start_new_python(*name_and_arguments)
        return forked.Process(arguments, Path.cwd(), self.environment)

    def start_new_python(self, *name_and_arguments):
        """Starts a command as `start` does, in a Python that has not imported any library yet."""
        return subprocess.Popen(
            self.arguments(*name_and_arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *name_and_arguments, new_python=False):
        """Runs a command to its end, as `start` starts it, or in a new Python."""
        start = self.start_new_python if new_python else self.start
        with start(*name_and_arguments) as process:
            output, errors = process.communicate(timeout=300)
        return subprocess.CompletedProcess((), process.returncode, output, errors)

    @contextmanager
    def started(self, rows, *arguments, scratch="scratch", hold=3):
        """Starts a training, waits for so many rows of steps.csv, and kills it after the block.

        In the meantime it takes at most `hold` further steps.
        """
        path = Path(scratch, "steps.csv")
        usual = self.trainer
        start = "import svoice.train\nsvoice.train.main()" if usual == self.module else usual[-1]
        self.trainer = [sys.executable, "-c", HOLD.format(step=rows + hold) + start]
        with self.start("train", *arguments) as process:
            self.trainer = usual
            while not (path.exists() and path.read_bytes().count(b"\n") > rows):
                assert process.poll() is None, process.communicate()
                time.sleep(0.001)
            yield process
            process.kill()
        assert process.returncode == -9


@pytest.fixture
def command():
    return Command()


@pytest.fixture
def set_params():
    """A function that replaces groups of a workspace's configuration.yaml."""

    def change(workspace, **groups):
        for group, values in groups.items():
            workspace.params[group] = values
        workspace.write_params()
        assert read_yaml(workspace.root / "configuration.yaml") == workspace.params

    return change
