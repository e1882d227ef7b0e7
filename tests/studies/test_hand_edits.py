"""Edits of params.yaml by hand are reported before DVC overwrites them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from studies import hand_edits
from tests import forked
from tests.conftest import ROOT
from tests.yaml_files import read_yaml, write_yaml

STAGE = {"stages": {"copy": {"cmd": "cp params.yaml copy.yaml", "params": ["seed"]}}}
HINT = "params.yaml: experiments are composed from conf/; to keep your edits, "


class Project:
    """A repository with this project's configuration and a stage that takes no time.

    Args:
        root: its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("conf", "contract", "studies", "stages", "report", "metrics"):
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

    def __call__(self, *command: str) -> list[str]:
        """Runs a command and returns the lines that it writes about params.yaml."""
        tools = Path(sys.prefix) / "bin"
        environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        done = forked.run_any(command, self.root, environment)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stderr.splitlines() if line.startswith("params.yaml: ")]

    def edit(self, **changes: Any) -> None:
        """Changes settings of SVoice in params.yaml."""
        path = self.root / "params.yaml"
        params = read_yaml(path)
        params["svoice"].update(changes)
        write_yaml(path, params)

    def svoice(self) -> dict[str, Any]:
        """Returns SVoice's settings in params.yaml."""
        return read_yaml(self.root / "params.yaml")["svoice"]


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("hand") / "project")


@pytest.fixture
def project(shared_project):
    shared_project("git", "checkout", "-q", "params.yaml")
    return shared_project


def test_edits_that_an_experiment_overwrites_are_reported(project):
    project.edit(H=77, R=3)
    assert project("dvc", "exp", "run", "-S", "seed=1") == [
        "params.yaml: svoice.H is 77 here, but 64 in the experiment",
        "params.yaml: svoice.R is 3 here, but 1 in the experiment",
        f"{HINT}use `-S svoice.H=77 -S svoice.R=3` or change conf/",
    ]
    assert project.svoice()["H"] == 64


def test_a_sweep_reports_them_once(project):
    project.edit(H=78)
    assert project("dvc", "exp", "run", "--queue", "-S", "seed=2,3,4") == [
        "params.yaml: svoice.H is 78 here, but 64 in the experiment",
        f"{HINT}use `-S svoice.H=78` or change conf/",
    ]
    assert project.svoice()["H"] == 78  # queueing leaves the workspace alone


def test_a_file_that_an_experiment_left_is_no_edit(project):
    assert project("dvc", "exp", "run", "-S", "svoice.H=32", "-n", "other") == []
    assert project.svoice()["H"] == 32
    assert project("dvc", "exp", "run", "-S", "seed=5") == []
    project("dvc", "exp", "apply", "other")
    assert project.svoice()["H"] == 32
    assert project("dvc", "exp", "run", "-S", "seed=6") == []


def test_only_the_edit_of_a_file_that_an_experiment_left_is_reported(project):
    project("dvc", "exp", "run", "-S", "svoice.H=16", "-S", "seed=7")
    project.edit(R=4)
    assert project("dvc", "exp", "run", "-S", "seed=8") == [
        "params.yaml: svoice.R is 4 here, but 1 in the experiment",
        f"{HINT}use `-S svoice.R=4` or change conf/",
    ]


def test_an_edit_that_the_experiment_has_too_is_not_reported(project):
    project.edit(H=79)
    assert project("dvc", "exp", "run", "-S", "svoice.H=79") == []


def test_at_most_ten_edits_are_reported_one_by_one(project):
    project.edit(**{f"unknown{number}": number for number in range(12)})
    lines = project("dvc", "exp", "run", "--queue", "-S", "seed=9")
    keys = sorted(f"unknown{number}" for number in range(12))[:10]
    assert lines == [
        *(
            f"params.yaml: svoice.{key} is {key.removeprefix('unknown')} here, "
            "but not set in the experiment"
            for key in keys
        ),
        "params.yaml: and 2 more",
        f"{HINT}change conf/",
    ]


def test_a_file_that_is_not_yaml_is_reported(project):
    (project.root / "params.yaml").write_text("seed: [1\n")
    assert project("dvc", "exp", "run", "--queue", "-S", "seed=10") == [
        "params.yaml: the file is not valid YAML and is overwritten",
        "params.yaml: experiments are composed from conf/",
    ]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder that is no repository, with a params.yaml and the note of a configuration."""
    monkeypatch.setattr(hand_edits, "_reported", False)
    write_yaml(tmp_path / "params.yaml", {"seed": 1, "steps": 3})
    (tmp_path / hand_edits.COMPOSED).mkdir(parents=True)
    (tmp_path / hand_edits.COMPOSED / "known.json").write_text('{"seed": 2, "steps": 3}')
    return tmp_path


def test_notes_that_another_process_removes_are_left_out(workspace, capsys):
    notes = workspace / hand_edits.COMPOSED
    (notes / "removed.json").symlink_to("nowhere")
    (notes / "cut-short.json").write_text('{"seed"')
    hand_edits.report_edits(workspace, {"seed": 2, "steps": 3})
    assert capsys.readouterr().err.splitlines() == [
        "params.yaml: seed is 1 here, but 2 in the experiment",
        f"{HINT}use `-S seed=1` or change conf/",
    ]
    assert len(list(notes.glob("*.json"))) == 4


def test_an_experiment_whose_configuration_cannot_be_noted_runs(workspace, capsys):
    notes = workspace / hand_edits.COMPOSED
    shutil.rmtree(notes)
    notes.write_text("a file in the place of the folder")
    for _ in range(2):
        hand_edits.report_edits(workspace, {"seed": 1, "steps": 3})
    assert capsys.readouterr().err == (
        "params.yaml: .dvc/tmp/composed cannot be written (file exists); "
        "later experiments may report edits that nobody made\n"
    )
