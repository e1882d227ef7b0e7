"""What the tests of all three environments share: real audio and a tiny configuration."""

import copy
import os
import signal
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.yaml_files import read_yaml, write_yaml

ROOT = Path(__file__).resolve().parents[1]
TEST_DATA = ROOT / "scratch" / "test-data"

# A shell that starts the tests in the background has them ignore Ctrl-C, and all they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Where everything has to be tested: nothing is skipped for want of a program, and generated
# examples are many.
IN_CI = os.environ.get("CI") == "true"

if find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile("full", deadline=None, max_examples=100)
    settings.register_profile("quick", deadline=None, max_examples=15)
    settings.load_profile("full" if IN_CI else "quick")

OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")


def shell_environment() -> dict[str, str]:
    """The environment of a user's shell: without what `make test` hands on to another make, which
    then says where it is."""
    return {name: value for name, value in os.environ.items() if name not in OF_MAKE}


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
    """A folder as a trainer finds it: params.yaml and the CSV lists with their audio."""

    root: Path
    params: dict

    def write_params(self):
        write_yaml(self.root / "params.yaml", self.params)


@pytest.fixture
def workspace(tmp_path):
    """The embedded data under a tiny configuration. Its CSV lists may be changed, its audio
    (a link to the shared copy) may not: replace a file's path in the list instead."""
    if not (TEST_DATA / "data" / "csv").is_dir():
        pytest.fail("scratch/test-data is missing: run `make test-data`")
    params = read_yaml(ROOT / "params.yaml")
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
    made = Workspace(root, params)
    made.write_params()
    return made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is known by where it is or by what it uses, for `pytest -m "not slow"`."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
        if item.path.parent.name == "pipeline":
            item.add_marker(pytest.mark.slow)
