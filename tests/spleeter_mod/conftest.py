"""What the tests of the patched Spleeter share."""

import logging
import os
import subprocess
from pathlib import Path

import pytest

from tests import forked

# `spleeter_mod` sets this as well, but some tests import TensorFlow before it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """`python -m spleeter_mod.<name>` in a folder, as a user runs it.

    Args:
        name: `train` or `estimate`.
        folder: the workspace.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._module = f"spleeter_mod.{name}"
        self._options = ["--params", "configuration.yaml"]
        if name == "train":
            self._options += ["--scratch", "scratch"]
        self._folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(self, before: str = "") -> forked.Process:
        """Starts the command and does not wait for it.

        Args:
            before: Python code to run in the same process before the command.
        """
        start = ["-m", self._module]
        if before:
            start = ["-c", f"{before}\nfrom {self._module} import main\nmain()"]
        return forked.Process([*start, *self._options], self._folder, self._environment)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end."""
        arguments = ["-m", self._module, *self._options]
        return forked.run(arguments, self._folder, self._environment)


@pytest.fixture
def command():
    return Command


@pytest.fixture
def set_params():
    """A function that changes keys in groups of a workspace's configuration.yaml.

    A choice with its name replaces its group.
    """

    def change(workspace, **groups):
        for group, values in groups.items():
            if isinstance(values, dict) and "name" not in values:
                workspace.params[group] = {**workspace.params[group], **values}
            else:
                workspace.params[group] = values
        workspace.write_params()

    return change


@pytest.fixture(autouse=True)
def quiet_spleeter():
    """Spleeter would log every chunk of audio that it loads; see `session.configure`."""
    logging.getLogger("spleeter").setLevel(logging.CRITICAL)
