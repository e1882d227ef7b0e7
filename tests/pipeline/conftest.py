"""A repository for each module: the files of this one, committed, in which the pipeline has run at
the smallest size. It runs once; each module has a copy, with DVC's cache."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY, shell_environment

# The tiny configuration as overrides, on top of every experiment's own.
TINY_MODELS = [
    f"{group}.{key}={value}" for group, values in TINY.items() for key, value in values.items()
]
OVERRIDES = [
    *TINY_MODELS,
    "speech.mixtures.train=4",
    "speech.mixtures.valid=2",
    "speech.mixtures.test=2",
]


@dataclass
class Repository:
    """A clone with DVC, in which commands run as a user runs them."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """In which `dvc` and `python` are the pipeline's, as after `activate`."""
        tools = Path(sys.prefix) / "bin"
        return {**shell_environment(), "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}

    def __call__(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Runs a command; its output is one text, as a terminal shows it."""
        # A file, not a pipe: the workers that `dvc queue start` leaves behind would hold it open.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=self.environment,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            output.seek(0)
            done.stdout = output.read()
        assert not check or done.returncode == 0, done.stdout
        return done

    def experiment(self, *overrides: str, base=OVERRIDES, name: str | None = None, check=True):
        """Runs `dvc exp run` with the tiny configuration and `overrides`."""
        options = [part for override in (*base, *overrides) for part in ("-S", override)]
        named = ["-n", name] if name else []
        return self("dvc", "exp", "run", *named, *options, check=check)

    def commit(self, message: str) -> None:
        self("git", "add", "-A")
        self("git", "commit", "-q", "-m", message)


def copy_project(root: Path) -> None:
    """Copies the files of this repository, without what an earlier run of the pipeline wrote."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if name != "dvc.lock" and not name.startswith("results/") and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)


def make_repository(root: Path) -> Repository:
    """The project in a Git repository of its own, in which nothing has run."""
    copy_project(root)
    made = Repository(root)
    made("git", "init", "-q")
    made("git", "config", "user.email", "tests@example.org")
    made("git", "config", "user.name", "Tests")
    made.commit("The project")
    return made


@pytest.fixture(scope="session")
def first_run(tmp_path_factory):
    """A repository in which the pipeline has run once, for others to be copied from."""
    made = make_repository(tmp_path_factory.mktemp("first_run") / "repository")
    made.experiment(name="base")
    made.commit("A first run")
    return made


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    """A copy of `first_run` for one module, whose tests may change it."""
    root = tmp_path_factory.mktemp("clone") / "repository"
    shutil.copytree(first_run.root, root, symlinks=True)
    made = Repository(root)
    yield made
    made("dvc", "queue", "stop", "--kill", check=False)
