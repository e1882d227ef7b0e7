"""What the tests of the SVoice trainer share."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.yaml_files import read_yaml

# Networks this small gain nothing from threads, and on busy cores lose much by their waiting for
# each other. To be set before PyTorch is imported; the commands that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(workspace, monkeypatch):
    """The workspace as the working directory, under the smallest network that trains."""
    workspace.params["svoice"].update(N=32, L=8, H=8, R=2, epochs=2)
    workspace.params["svoice"].update(segment_seconds=0.25, stride_seconds=0.5, batch_size=4)
    workspace.write_params()
    monkeypatch.chdir(workspace.root)
    return workspace


EVERY_STEP = """
import svoice.training
svoice.training.CHECKPOINT_SECONDS = 0
import svoice.train
svoice.train.main()
"""


class Command:
    """The arguments and the environment under which a command runs as a user runs it.

    trainer: what starts svoice.train, for tests that start it in another way.
    """

    def __init__(self):
        self.module = [sys.executable, "-m", "svoice.train"]
        self.every_step = [sys.executable, "-c", EVERY_STEP]  # with a checkpoint after each
        # Processes find each other on this machine whatever its name.
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
        self.trainer = self.module

    def torchrun(self, processes, program=None):
        """What starts a program, by default the trainer, in several processes."""
        run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return [sys.executable, *run, "--no-python", *(program or self.module)]

    def arguments(self, name, *arguments):
        if name != "train":
            return [sys.executable, "-m", f"svoice.{name}", "--params", "params.yaml"]
        return [*self.trainer, *(arguments or ("--params", "params.yaml", "--scratch", "scratch"))]

    def start(self, *name_and_arguments):
        return subprocess.Popen(
            self.arguments(*name_and_arguments),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *name_and_arguments):
        return subprocess.run(
            self.arguments(*name_and_arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    @contextmanager
    def started(self, rows, *arguments, scratch="scratch"):
        """A training that has written so many rows of steps.csv; killed after the block."""
        path = Path(scratch, "steps.csv")
        with self.start("train", *arguments) as process:
            while process.poll() is None:
                if path.exists() and path.read_bytes().count(b"\n") > rows:
                    break
                time.sleep(0.001)
            yield process
            process.kill()
        assert process.returncode == -9


@pytest.fixture
def command():
    return Command()


@pytest.fixture
def set_params():
    """Change groups of a workspace's params.yaml."""

    def change(workspace, **groups):
        for group, values in groups.items():
            workspace.params[group] = values
        workspace.write_params()
        assert read_yaml(workspace.root / "params.yaml") == workspace.params

    return change
