"""Edits of composed files by hand are reported before DVC overwrites them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.layout import CONFIGURATION, PARAMS
from studies import hand_edits
from tests import forked
from tests.conftest import ROOT
from tests.yaml_files import read_yaml, write_yaml

STAGE = {"stages": {"copy": {"cmd": "cp params.yaml copy.yaml", "params": ["seed"]}}}
NOTES = hand_edits.COMPOSED / CONFIGURATION.stem
HINT = "configuration.yaml: experiments are composed from conf/; to keep your edits, "


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
        for name in ("configuration.yaml", "params.yaml"):
            shutil.copyfile(ROOT / name, root / name)
        self("git", "add", "-A")
        self("git", "commit", "-q", "-m", "The project")

    def __call__(self, *command: str) -> list[str]:
        """Runs a command and returns the lines that it writes about configuration.yaml."""
        tools = Path(sys.prefix) / "bin"
        environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        done = forked.run_any(command, self.root, environment)
        assert done.returncode == 0, done.stderr
        lines = done.stderr.splitlines()
        return [line for line in lines if line.startswith("configuration.yaml: ")]

    def edit(self, **changes: Any) -> None:
        """Changes settings of SVoice in configuration.yaml."""
        path = self.root / "configuration.yaml"
        params = read_yaml(path)
        params["svoice"].update(changes)
        write_yaml(path, params)

    def svoice(self) -> dict[str, Any]:
        """Returns SVoice's settings in configuration.yaml."""
        return read_yaml(self.root / "configuration.yaml")["svoice"]


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("hand") / "project")


@pytest.fixture
def project(shared_project):
    shared_project("git", "checkout", "-q", "configuration.yaml", "params.yaml")
    return shared_project


def test_edits_that_an_experiment_overwrites_are_reported(project):
    project.edit(H=77, R=3)
    assert project("dvc", "exp", "run", "-S", "seed=1") == [
        "configuration.yaml: svoice.H is 77 here, but 16 in the experiment",
        "configuration.yaml: svoice.R is 3 here, but 1 in the experiment",
        f"{HINT}use `-S svoice.H=77 -S svoice.R=3` or change conf/",
    ]
    assert project.svoice()["H"] == 16


def test_a_sweep_reports_them_once(project):
    project.edit(H=78)
    assert project("dvc", "exp", "run", "--queue", "-S", "seed=2,3,4") == [
        "configuration.yaml: svoice.H is 78 here, but 16 in the experiment",
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
    project("dvc", "exp", "run", "-S", "svoice.H=24", "-S", "seed=7")
    project.edit(R=4)
    assert project("dvc", "exp", "run", "-S", "seed=8") == [
        "configuration.yaml: svoice.R is 4 here, but 1 in the experiment",
        f"{HINT}use `-S svoice.R=4` or change conf/",
    ]


def test_an_edit_that_the_experiment_has_too_is_not_reported(project):
    project.edit(H=79)
    assert project("dvc", "exp", "run", "-S", "svoice.H=79") == []


def test_a_value_that_looks_like_a_reference_stays_as_it_is(project):
    settings = ["-S", "music=folder", "-S", r'music.path="/songs/\${x}"', "-S", "seed=11"]
    assert project("dvc", "exp", "run", *settings) == []
    assert read_yaml(project.root / "params.yaml")["music.path"] == "/songs/${x}"
    assert read_yaml(project.root / "configuration.yaml")["music"]["path"] == "/songs/${x}"


def test_at_most_ten_edits_are_reported_one_by_one(project):
    project.edit(**{f"unknown{number}": number for number in range(12)})
    lines = project("dvc", "exp", "run", "--queue", "-S", "seed=9")
    keys = sorted(f"unknown{number}" for number in range(12))[:10]
    assert lines == [
        *(
            f"configuration.yaml: svoice.{key} is {key.removeprefix('unknown')} here, "
            "but not set in the experiment"
            for key in keys
        ),
        "configuration.yaml: and 2 more",
        f"{HINT}change conf/",
    ]


def test_a_file_that_is_not_yaml_is_reported(project):
    (project.root / "configuration.yaml").write_text("seed: [1\n")
    assert project("dvc", "exp", "run", "--queue", "-S", "seed=10") == [
        "configuration.yaml: the file is not valid YAML and is overwritten",
        "configuration.yaml: experiments are composed from conf/",
    ]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder that is no repository, with a configuration.yaml and the note of a configuration."""
    monkeypatch.setattr(hand_edits, "_reported", False)
    write_yaml(tmp_path / "configuration.yaml", {"seed": 1, "steps": 3})
    (tmp_path / NOTES).mkdir(parents=True)
    (tmp_path / NOTES / "known.json").write_text('{"seed": 2, "steps": 3}')
    return tmp_path


def test_an_edited_rate_is_kept_by_the_settings_of_both_models(workspace, capsys):
    write_yaml(workspace / "params.yaml", {"rates": "0.5, 2"})
    (workspace / hand_edits.COMPOSED / "params").mkdir()
    (workspace / hand_edits.COMPOSED / "params" / "known.json").write_text('{"rates": "1, 2"}')
    hand_edits.report_edits(workspace, {PARAMS: {"rates": "1, 2"}})
    options = "-S optimizer.spleeter.learning_rate=0.5 -S optimizer.svoice.lr=2"
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"use `{options}` or change conf/")


def test_notes_that_another_process_removes_are_left_out(workspace, capsys):
    notes = workspace / NOTES
    (notes / "removed.json").symlink_to("nowhere")
    (notes / "cut-short.json").write_text('{"seed"')
    hand_edits.report_edits(workspace, {CONFIGURATION: {"seed": 2, "steps": 3}})
    assert capsys.readouterr().err.splitlines() == [
        "configuration.yaml: seed is 1 here, but 2 in the experiment",
        f"{HINT}use `-S seed=1` or change conf/",
    ]
    assert len(list(notes.glob("*.json"))) == 4


def test_an_experiment_whose_configuration_cannot_be_noted_runs(workspace, capsys):
    notes = workspace / NOTES
    shutil.rmtree(notes)
    notes.write_text("a file in the place of the folder")
    for _ in range(2):
        hand_edits.report_edits(workspace, {CONFIGURATION: {"seed": 1, "steps": 3}})
    assert capsys.readouterr().err == (
        "configuration.yaml: .dvc/tmp/composed/configuration cannot be written (file exists); "
        "later experiments may report edits that nobody made\n"
    )
