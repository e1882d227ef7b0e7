"""What the tests of the SVoice trainer share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


class Command:
    """The arguments and the environment under which a command runs as a user runs it.

    trainer: what starts svoice.train, for tests that start it in another way.
    """

    def __init__(self):
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.trainer = [sys.executable, "-m", "svoice.train"]

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
        assert yaml.safe_load((workspace.root / "params.yaml").read_text()) == workspace.params

    return change
