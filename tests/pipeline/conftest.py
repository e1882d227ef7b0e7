"""A repository for each module of tests, in which the pipeline has run at the smallest size.

It holds the files of this repository, committed. The pipeline runs once for all suites, and each
module has a copy of the result, with DVC's cache.
"""

import atexit
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from dvc.repo import Repo

from contract.files import new_folder
from contract.locks import lock
from report.images import BROWSERS
from studies import queue_workers
from tests import forked
from tests.conftest import ROOT, TINY, shell_environment
from tests.project import copy_project, project_hash
from tests.report.conftest import browse, browser  # noqa: F401

FIRST_RUNS = ROOT / "scratch" / "test-runs"

# The tiny configuration as overrides, which every experiment has besides its own.
TINY_MODELS = [
    f"{group}.{key}={value}" for group, values in TINY.items() for key, value in values.items()
]
OVERRIDES = [
    *TINY_MODELS,
    "speech.mixtures.train=4",
    "speech.mixtures.valid=2",
    "speech.mixtures.test=2",
]

# What `dvc queue status` says when it reads a file that a worker is writing at that moment.
BEING_WRITTEN = re.compile(r"unexpected error - (Expecting|Extra data|Unterminated|Invalid)")


@functools.cache
def programs() -> str:
    """Returns a folder of links to this machine's programs, all but browsers.

    With a Chromium every report would draw its figures for papers, which takes as long as the rest
    of a study here. `tests/report` tests those.
    """
    folder = tempfile.mkdtemp(prefix="programs-")
    atexit.register(shutil.rmtree, folder)
    for place in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in place.iterdir() if place.is_dir() else ():
            link = Path(folder, program.name)
            if program.name not in BROWSERS and not link.is_symlink():
                link.symlink_to(program)
    return folder


@dataclass
class Repository:
    """A repository with DVC, in which commands run as a user runs them.

    Attributes:
        root: its folder.
    """

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands, with the `dvc` and `python` of the pipeline."""
        tools = Path(sys.prefix) / "bin"
        variables = {**shell_environment(), "PATH": f"{tools}{os.pathsep}{programs()}"}
        variables.pop("BROWSER_PATH", None)
        return {
            **variables,
            # Threads of networks this small wait for each other on cores that others use.
            "OMP_NUM_THREADS": "1",
        }

    def __call__(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end.

        Args:
            command: the program and its arguments.
            check: whether it must succeed.

        Returns:
            The process, whose `stdout` has the output and the errors, as a terminal shows them.
        """
        done = forked.run_any(command, self.root, self.environment, joined=True)
        assert not check or done.returncode == 0, done.stdout
        return done

    def experiment(
        self,
        *overrides: str,
        base: Sequence[str] = OVERRIDES,
        name: str | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `dvc exp run`.

        Args:
            overrides: of this experiment.
            base: the overrides that come before them.
            name: the experiment's; DVC chooses one if None.
            check: whether it must succeed.
        """
        options = [part for override in (*base, *overrides) for part in ("-S", override)]
        name_options = ["-n", name] if name else []
        return self("dvc", "exp", "run", *name_options, *options, check=check)

    def queue_status(self) -> str:
        """Returns what `dvc queue status` prints.

        It is asked again while a worker is writing a file that it reads.
        """
        for _ in range(20):  # a worker writes such a file in a moment
            done = self("dvc", "queue", "status", check=False)
            if done.returncode == 0:
                break
            assert BEING_WRITTEN.search(done.stdout), done.stdout
        else:
            pytest.fail(done.stdout)
        return done.stdout

    def wait_for_queue(self, seconds: float) -> str:
        """Waits until all experiments in DVC's queue have ended.

        A worker of DVC ends when it reads a message that another is still writing. If all have
        ended so, one is started again.

        Args:
            seconds: after which the test fails.

        Returns:
            What `dvc queue status` prints then.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.queue_status()
            if "Queued" not in status and "Running" not in status:
                return status
            if "Running" not in status:
                with Repo(str(self.root)) as repo:
                    alive = queue_workers.living_workers(repo.experiments.celery_queue)
                if not alive:
                    self("dvc", "queue", "start")
            time.sleep(1)
        pytest.fail(status)

    def commit(self, message: str) -> None:
        """Commits all changes."""
        self("git", "add", "-A")
        self("git", "commit", "-q", "-m", message)


def make_repository(root: Path) -> Repository:
    """Makes a Git repository of the project's files, in which nothing has run.

    Args:
        root: its folder.
    """
    copy_project(root)
    repository = Repository(root)
    repository("git", "init", "-q")
    repository("git", "config", "user.email", "tests@example.org")
    repository("git", "config", "user.name", "Tests")
    # The page that set-up has made, which .dvc/config expects in the repository's own environment.
    page = Path(sys.prefix, "share", "plots.html")
    repository("dvc", "config", "--local", "plots.html_template", str(page))
    repository.commit("The project")
    return repository


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which the pipeline has run once, to be copied.

    The suites share the run: the first that needs it makes it while the others wait. It is kept
    until a file of the project or an environment has changed.
    """
    root = tmp_path_factory.mktemp("first_run") / "repository"
    with lock(FIRST_RUNS / "lock", "the first run of the pipeline"):
        kept = FIRST_RUNS / project_hash()
        if kept.exists():
            shutil.copytree(kept, root, symlinks=True)
            return Repository(root)
        repository = make_repository(root)
        repository.experiment(name="base")
        repository.commit("A first run")
        for older in FIRST_RUNS.iterdir():
            if older.is_dir():
                shutil.rmtree(older)
        with new_folder(kept) as folder:
            shutil.copytree(root, folder, symlinks=True, dirs_exist_ok=True)
    return repository


@pytest.fixture(scope="module")
def repository(
    first_run: Repository, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Repository]:
    """A copy of `first_run` for one module, whose tests may change it."""
    root = tmp_path_factory.mktemp("clone") / "repository"
    shutil.copytree(first_run.root, root, symlinks=True)
    repository = Repository(root)
    yield repository
    repository("dvc", "queue", "stop", "--kill", check=False)
