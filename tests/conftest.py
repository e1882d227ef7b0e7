"""Fixtures for the tests of all three environments: real audio and a tiny configuration."""

import copy
import gc
import os
import signal
from collections.abc import Generator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.yaml_files import read_yaml, write_yaml

ROOT = Path(__file__).resolve().parents[1]
TEST_DATA = ROOT / "scratch" / "test-data"

# If a shell starts the tests in the background, they ignore Ctrl-C, as do all processes that they
# start, unless this is undone.
signal.signal(signal.SIGINT, signal.default_int_handler)

# In CI no test is skipped because something is missing, and generated examples are many.
IN_CI = os.environ.get("CI") == "true"


def in_ci(*cases: Any) -> list[Any]:
    """Returns further cases of a test in CI, and none elsewhere.

    They repeat with other values what the cases that run everywhere test.
    """
    return list(cases) if IN_CI else []


if find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile("full", deadline=None, max_examples=100, derandomize=True)
    settings.register_profile("quick", deadline=None, max_examples=15, derandomize=True)
    settings.load_profile("full" if IN_CI else "quick")

MAKE_VARIABLES = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")


def shell_environment() -> dict[str, str]:
    """Returns the environment of a user's shell.

    It lacks the variables that `make test` passes on to another make, which would print more.
    """
    return {name: value for name, value in os.environ.items() if name not in MAKE_VARIABLES}


# The sizes of the tiny configuration.
TINY = {
    "spleeter": {
        "T": 64,
        "F": 256,
        "filters": [4, 4, 8, 8, 16, 16],
        "steps": 6,
        "validate_every": 3,
    },
    "svoice": {"N": 32, "L": 8, "H": 16, "R": 2, "epochs": 2, "segment_seconds": 0.5},
}


@dataclass
class Workspace:
    """A folder in which a trainer runs: configuration.yaml and the CSV lists with their audio.

    Attributes:
        root: the folder.
        params: the contents of configuration.yaml once `write_params` has written them.
    """

    root: Path
    params: dict[str, Any]

    def write_params(self) -> None:
        """Writes configuration.yaml."""
        write_yaml(self.root / "configuration.yaml", self.params)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with the embedded data and the tiny configuration.

    A test may change its CSV lists but not its audio, which is a link to the shared copy: it
    replaces a file's path in the list instead.
    """
    if not (TEST_DATA / "data" / "csv").is_dir():
        pytest.fail("scratch/test-data is missing: run `make test-data`")
    params = read_yaml(ROOT / "configuration.yaml")
    for group, values in copy.deepcopy(TINY).items():
        params[group].update(values)
    root = tmp_path / "workspace"
    csv = root / "data" / "csv"
    for source in sorted((TEST_DATA / "data" / "csv").rglob("*.csv")):
        target = csv / source.relative_to(TEST_DATA / "data" / "csv")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    for name in ("music", "speech"):
        (root / "data" / name).symlink_to(TEST_DATA / "data" / name)
    workspace = Workspace(root, params)
    workspace.write_params()
    return workspace


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, fails the tests that would be skipped because they need what is missing."""
    report = yield
    if IN_CI and call.excinfo and call.excinfo.errisinstance(pytest.skip.Exception):
        reason = str(call.excinfo.value)
        if reason.startswith("needs "):
            report.outcome, report.longrepr = "failed", f"In CI it is missing: {reason}"
    return report


def pytest_collection_finish() -> None:
    """Spares garbage collection the libraries, which all tests have imported now.

    TensorFlow alone is a million objects.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by what they use, a browser, an engine for containers or Slurm, and slow ones."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "browser" in fixtures:
            item.add_marker(pytest.mark.browser)
        if "client" in fixtures:
            callspec = getattr(item, "callspec", None)
            item.add_marker(callspec.params.get("client", "docker") if callspec else "docker")
        if "podman_home" in fixtures:
            item.add_marker(pytest.mark.podman)
        if "cluster" in fixtures:
            item.add_marker(pytest.mark.slurm)
        if item.path.parent.name == "pipeline":
            item.add_marker(pytest.mark.slow)
