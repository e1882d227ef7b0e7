"""What of params.yaml was edited by hand is told before DVC overwrites it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.yaml_files import read_yaml, write_yaml

STAGE = {"stages": {"copy": {"cmd": "cp params.yaml copy.yaml", "params": ["seed"]}}}
HINT = "experiments are composed from conf/"


class Project:
    """This one's configuration, with a stage that takes no time."""

    def __init__(self, root: Path):
        self.root = root
        for name in ("conf", "stages", "metrics"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        (root / ".gitignore").write_text("__pycache__\n")
        write_yaml(root / "dvc.yaml", STAGE)
        self("git", "init", "-q")
        self("git", "config", "user.email", "tests@example.org")
        self("git", "config", "user.name", "Tests")
        self("dvc", "init", "-q")
        shutil.copyfile(ROOT / ".dvc/config", root / ".dvc/config")
        shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
        self("git", "add", "-A")
        self("git", "commit", "-q", "-m", "The project")

    def __call__(self, *command: str) -> str:
        """Runs a command. → what it said of params.yaml"""
        tools = Path(sys.prefix) / "bin"
        environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return "".join(
            line for line in done.stderr.splitlines(True) if line.startswith("params.yaml: ")
        )

    def edit(self, **changes) -> None:
        path = self.root / "params.yaml"
        params = read_yaml(path)
        params["svoice"].update(changes)
        write_yaml(path, params)

    def params(self) -> dict:
        return read_yaml(self.root / "params.yaml")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("hand") / "project")


@pytest.fixture
def project(made):
    made("git", "checkout", "-q", "params.yaml")
    return made


def test_what_an_experiment_overwrites_is_told(project):
    project.edit(H=77, R=3)
    said = project("dvc", "exp", "run", "-S", "seed=1")
    assert said.splitlines()[:2] == [
        "params.yaml: svoice.H is 77 by hand, 64 in the experiment",
        "params.yaml: svoice.R is 3 by hand, 1 in the experiment",
    ]
    assert HINT in said and "`-S svoice.H=77 -S svoice.R=3`" in said
    assert project.params()["svoice"]["H"] == 64


def test_once_for_a_sweep(project):
    project.edit(H=78)
    said = project("dvc", "exp", "run", "--queue", "-S", "seed=2,3,4")
    assert said.count("svoice.H is 78 by hand") == said.count(HINT) == 1
    assert project.params()["svoice"]["H"] == 78  # a queue leaves the workspace alone


def test_what_an_experiment_left_is_no_edit(project):
    assert project("dvc", "exp", "run", "-S", "svoice.H=32", "-n", "other") == ""
    assert project.params()["svoice"]["H"] == 32
    assert project("dvc", "exp", "run", "-S", "seed=5") == ""
    project("dvc", "exp", "apply", "other")
    assert project.params()["svoice"]["H"] == 32
    assert project("dvc", "exp", "run", "-S", "seed=6") == ""


def test_an_edit_of_what_an_experiment_left_is_told_alone(project):
    project("dvc", "exp", "run", "-S", "svoice.H=16", "-S", "seed=7")
    project.edit(R=4)
    said = project("dvc", "exp", "run", "-S", "seed=8")
    assert said.startswith("params.yaml: svoice.R is 4 by hand, 1 in the experiment\n")
    assert "svoice.H" not in said and "seed" not in said


def test_an_edit_that_the_experiment_has_is_not_told(project):
    project.edit(H=79)
    assert project("dvc", "exp", "run", "-S", "svoice.H=79") == ""


def test_no_more_than_ten_lines(project):
    project.edit(**{f"unknown{number}": number for number in range(12)})
    lines = project("dvc", "exp", "run", "--queue", "-S", "seed=9").splitlines()
    assert len(lines) == 12
    assert lines[10] == "params.yaml: and 2 more"
