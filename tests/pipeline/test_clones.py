"""In every kind of clone that a newcomer may have, the pipeline works or one line says what to do.

That line comes before any work is done.
"""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.scm import NoSCMError

from tests.conftest import shell_environment
from tests.pipeline.conftest import Repository, make_repository
from tests.project import copy_project

# The commands that run an experiment in a temporary workspace.
TEMPORARY = [["dvc", "exp", "run", "--temp"], ["dvc", "exp", "run", "--queue"]]


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A repository to clone from."""
    return make_repository(tmp_path_factory.mktemp("origin") / "repository")


@pytest.fixture
def clone(origin, tmp_path):
    """Makes clones of the origin, or of another source, in an empty folder."""

    def make(name: str = "clone", *options: str, source: str | None = None) -> Repository:
        root = tmp_path / name
        source = source or str(origin.root)
        subprocess.run(["git", "clone", "-q", *options, source, root], check=True)
        return Repository(root)

    return make


def experiments(repository: Repository) -> list[str]:
    """The names of the experiments in a repository."""
    refs = repository("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    return [ref.split("/")[-1] for ref in refs if len(ref.split("/")) == 5]


def assert_refused(repository: Repository, command: list[str], message: str) -> None:
    """Asserts that an experiment is refused with a message, and that it changes nothing."""
    done = repository(*command, check=False)
    assert done.returncode == 1
    assert done.stdout == f"ERROR: {repository.root}: {message}\n"
    assert experiments(repository) == []
    assert repository("git", "status", "--porcelain").stdout == ""


def assert_dvc_needs_git(done: subprocess.CompletedProcess[str]) -> None:
    """Asserts that DVC has refused an experiment because there is no Git repository."""
    assert done.returncode == 255  # DVC's own
    assert done.stdout == f"ERROR: {NoSCMError()}\n"


@pytest.mark.parametrize("command", TEMPORARY, ids=lambda command: command[-1])
def test_a_shallow_clone_is_refused_where_the_experiment_would_be_lost(origin, clone, command):
    shallow = clone("shallow", "--depth=1", source=f"file://{origin.root}")
    message = (
        "is a shallow clone, from which DVC would lose the experiment; run `git fetch --unshallow`"
    )
    assert_refused(shallow, [*command, "-S", "seed=1", "environments"], message)
    shallow("dvc", "exp", "run", "-n", "here", "-S", "seed=1", "environments")
    assert experiments(shallow) == ["here"]


@pytest.mark.parametrize("command", TEMPORARY, ids=lambda command: command[-1])
@pytest.mark.parametrize("letter", ["Ü", "#", "?", "%20"])
def test_a_path_that_dvc_cannot_handle_is_refused(clone, letter, command):
    message = (
        f"DVC's temporary workspaces cannot handle '{letter}' in this path; "
        "move or clone the repository to a path of ASCII characters without #, ? and %"
    )
    assert_refused(clone(f"a{letter}b"), [*command, "-S", "seed=1", "environments"], message)


def test_a_path_with_other_special_characters_works(clone):
    repository = clone("a b,c'd;$HOME=[x]{y}%z")
    repository("dvc", "exp", "run", "--temp", "-n", "there", "-S", "seed=1", "environments")
    assert experiments(repository) == ["there"]


def test_a_worktree_works(clone, tmp_path):
    repository = clone()
    repository("git", "worktree", "add", "-q", str(tmp_path / "tree"))
    tree = Repository(tmp_path / "tree")
    tree("dvc", "exp", "run", "-n", "here", "-S", "seed=1", "environments")
    tree("dvc", "exp", "run", "--temp", "-n", "there", "-S", "seed=2", "environments")
    tree("dvc", "exp", "run", "--queue", "-n", "queued", "-S", "seed=3", "environments")
    tree("dvc", "exp", "run", "--run-all")
    assert experiments(tree) == ["here", "queued", "there"]


@pytest.fixture
def archive(tmp_path):
    """The files of the project as in a downloaded archive, and the installed environments."""
    root = tmp_path / "archive"
    copy_project(root)
    (root / ".venv").symlink_to(Path(sys.prefix).parent)
    return Repository(root)


def test_an_unpacked_archive_runs_the_pipeline_and_says_what_experiments_need(archive):
    output = archive("make", "setup").stdout
    assert (
        "This folder is not a Git repository: the pipeline runs, but experiments and studies need "
        "one.\n"
    ) in output
    archive("dvc", "repro", "environments")
    assert (archive.root / "results/svoice/environment.json").is_file()
    experiment = ["dvc", "exp", "run", "--temp", "-S", "seed=1", "environments"]
    done = archive(*experiment, check=False)
    assert_dvc_needs_git(done)
    for command in (
        ["-m", "studies.study", "mini"],
        ["-m", "studies.report", "HEAD", "--out", "page.html"],
    ):
        done = archive(sys.executable, *command, check=False)
        assert done.returncode == 1
        assert done.stdout == (
            f"ERROR: {archive.root}: is not a Git repository with a commit; "
            "run `git init && git add --all && git commit`, then `make setup`\n"
        )
    archive("git", "init", "-q")
    archive("git", "config", "user.email", "tests@example.org")
    archive("git", "config", "user.name", "Tests")
    archive.commit("The first commit")
    assert "not a Git repository" not in archive("make", "setup").stdout
    archive(*experiment)
    assert len(experiments(archive)) == 1


def test_an_archive_unpacked_in_another_repository_does_not_change_that(archive, tmp_path):
    outer = Repository(tmp_path)
    outer("git", "init", "-q")
    archive("make", "setup")
    archive("dvc", "repro", "environments")
    done = archive("dvc", "exp", "run", "-S", "seed=1", "environments", check=False)
    assert_dvc_needs_git(done)
    assert outer("git", "stash", "list").stdout == ""


def test_a_second_set_up_waits_for_the_end_of_the_first(tmp_path):
    """It makes one environment. In the others, which are there, Python notes its arguments."""
    root, calls = tmp_path / "project", tmp_path / "calls"
    (root / "docker/requirements").mkdir(parents=True)
    shutil.copy(Path(__file__).resolve().parents[2] / "Makefile", root)
    environments = root / ".venv"
    (root / "report").mkdir()
    for name in ("plots_page.py", "plots_page.html"):
        (root / "report" / name).write_text("")
    for name in ("pipeline", "spleeter", "svoice"):
        (root / f"docker/requirements/{name}.txt").write_text("")
    stubs = [environments / name / "bin/python" for name in ("pipeline", "spleeter")]
    for stub in stubs:
        stub.parent.mkdir(parents=True)
        stub.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\n')
        stub.chmod(0o755)
    subprocess.run(["git", "init", "-q", root], check=True)
    with (environments / "setup.lock").open("w") as lock_of_the_first:
        fcntl.flock(lock_of_the_first, fcntl.LOCK_EX)
        second = subprocess.Popen(
            ["make", "setup"],
            cwd=root,
            env=shell_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        line = second.stdout.readline()
        assert line == "Waiting for the set-up in another process\n"
        assert not calls.exists()
        assert not (environments / "svoice").exists()
        files = {path for path in environments.rglob("*") if path.is_file()}
        assert files == {environments / "setup.lock", *stubs}
    output, _ = second.communicate()
    assert second.returncode == 0, output
    for name in ("pipeline", "spleeter", "svoice"):
        assert (environments / name / "requirements.sha256").is_file()
    install = "-m pip install --quiet --disable-pip-version-check -r docker/requirements"
    assert sorted(calls.read_text().splitlines()) == [
        *(f"{install}/{name}.txt" for name in ("pipeline", "spleeter")),
        "-m report.plots_page .venv/pipeline/share/plots.html",
    ]
    made = subprocess.run(
        [environments / "svoice/bin/python", "-c", "import pip, sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
    )
    assert (made.stdout, made.stderr) == (f"{environments / 'svoice'}\n", "")
