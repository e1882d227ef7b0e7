"""What the tests of the patched Spleeter share."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

# `spleeter_mod` sets this as well, but some tests import TensorFlow before it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """`python -m spleeter_mod.<name>` in a folder, as a user runs it."""

    def __init__(self, name: str, folder: Path):
        scratch = ["--scratch", "scratch"] if name == "train" else []
        self._how = {
            "args": [
                *(sys.executable, "-m", f"spleeter_mod.{name}", "--params", "params.yaml"),
                *scratch,
            ],
            "cwd": folder,
            "env": {**os.environ, "PYTHONPATH": str(ROOT)},
            "text": True,
        }

    def start(self, before: str = "") -> subprocess.Popen:
        """Starts the command and does not wait for it.

        Args:
            before: Python code to run in the same process before the command.
        """
        how = dict(self._how)
        if before:
            python, _, module, *arguments = how["args"]
            code = f"{before}; from {module} import main; main()"
            how["args"] = [python, "-c", code, *arguments]
        return subprocess.Popen(**how, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self) -> subprocess.CompletedProcess:
        """Runs the command to its end."""
        return subprocess.run(**self._how, capture_output=True, timeout=300)


@pytest.fixture
def command():
    return Command


@pytest.fixture
def set_params():
    """A function that changes keys in groups of a workspace's params.yaml.

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
