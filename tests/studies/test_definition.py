"""Studies: which experiments they stand for, and that DVC accepts their settings and names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.params import check
from studies.definition import Study, baseline_name, experiments, read_study
from studies.study import main
from tests.conftest import ROOT
from tests.contract.test_params import composed
from tests.yaml_files import read_yaml, write_yaml

STUDIES = sorted(path.stem for path in (ROOT / "conf" / "study").glob("*.yaml"))
OPTIMIZERS = ["adadelta", "adagrad", "adam", "rmsprop", "sgd"]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def settings(name: str, seeds: int = 1) -> list[dict[str, str]]:
    """Returns the settings of each experiment of a study, without those that all have."""
    return [
        dict(setting.split("=") for setting in experiment.overrides)
        for experiment in experiments(name, read_study(name), seeds)
    ]


def test_published_svoice_has_the_eleven_runs_of_the_study():
    runs = [
        (run["optimizer"], run["schedule"], run["clipping"]) for run in settings("published_svoice")
    ]
    crossed = {
        (optimizer, schedule, "norm")
        for optimizer in OPTIMIZERS
        for schedule in ("step", "plateau")
    }
    assert set(runs) == crossed | {("adam", "step", "none")}
    assert len(runs) == 11


def test_published_spleeter_has_the_seven_runs_of_the_study():
    runs = [(run["optimizer"], run["spleeter.steps"]) for run in settings("published_spleeter")]
    hundred_steps = {(optimizer, "100") for optimizer in [*OPTIMIZERS, "nesterov"]}
    assert set(runs) == hundred_steps | {("nesterov", "2000")}
    assert len(runs) == 7


def test_published_spleeter_has_the_seed_of_the_study():
    assert {run["seed"] for run in settings("published_spleeter")} == {"4"}


def test_cells_that_a_setting_makes_the_same_are_one_experiment():
    study = read_study("published_spleeter")
    names = [
        each.name for each in experiments("published_spleeter", study, 1, ["spleeter.steps=20"])
    ]
    assert len(names) == len(set(names)) == 6


@pytest.mark.parametrize("name", STUDIES)
def test_seeds_repeat_every_cell_under_unique_names(name):
    once, thrice = settings(name), settings(name, 3)
    assert len(thrice) == 3 * len(once)
    first = read_study(name).seed
    assert {run["seed"] for run in thrice} == {str(first + number) for number in range(3)}
    names = [experiment.name for experiment in experiments(name, read_study(name), 3)]
    assert len(set(names)) == len(names)
    assert not set("/~^: _") & set("".join(names))  # Git or DVC would refuse these


@pytest.mark.parametrize("name", STUDIES)
def test_every_experiment_is_a_valid_configuration(name):
    study = read_study(name)
    for experiment in experiments(name, study):
        check(composed(*study.overrides, *experiment.overrides))


@pytest.mark.parametrize("name", STUDIES)
def test_the_baseline_is_one_of_the_experiments(name):
    study = read_study(name)
    planned = {experiment.name: experiment for experiment in experiments(name, study)}
    baseline = planned[baseline_name(name, study, list(planned.values()))]
    choices = {f"{key}={value}" for key, value in study.baseline.items()}
    assert choices <= set(baseline.overrides)


CELLS = [{"optimizer": "adam", "clipping": ["norm", "none"]}, {"optimizer": "sgd"}]


def test_the_baseline_has_the_settings_that_all_experiments_have():
    study = Study(overrides=[], cells=CELLS, baseline={"optimizer": "adam", "clipping": "none"})
    for settings, expected in (
        ([], "own-adam-none-seed0"),
        (["clipping=value"], "own-adam-value-seed0"),
        (["optimizer=sgd"], "own-sgd-none-seed0"),
    ):
        planned = experiments("own", study, 1, settings)
        assert baseline_name("own", study, planned, settings) == expected


def test_a_baseline_that_is_no_experiment_is_refused_before_any_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, {"overrides": [], "cells": CELLS, "baseline": {"optimizer": "adm"}})
    monkeypatch.setattr("sys.argv", ["study", "own"])
    monkeypatch.setattr("studies.study.check_repository", lambda *_, **__: None)
    monkeypatch.setattr("studies.study.run_experiments", lambda *_: pytest.fail("it ran"))
    with pytest.raises(InputError) as caught:
        main()
    assert str(caught.value) == (
        "conf/study/own.yaml, baseline: none of the experiments has optimizer=adm; "
        "name the values of a cell"
    )


def write_study(root: Path, content: dict) -> None:
    """Writes the study `own`."""
    folder = root / "conf" / "study"
    folder.mkdir(parents=True)
    write_yaml(folder / "own.yaml", content)
    engines = root / "conf" / "engine"
    engines.mkdir()
    write_yaml(engines / "local.yaml", {"name": "local"})


def test_the_values_of_a_cell_reach_the_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = '/data/my "live" songs, 2024'
    cell = {
        "music": "folder",
        "music.path": path,
        "music.validation_tracks": None,
        "svoice.group_norm": [True, False],
        "optimizer.svoice.lr": [1, 1e-5],
    }
    baseline = {"svoice.group_norm": False, "optimizer.svoice.lr": 1, "music.path": path}
    write_study(tmp_path, {"overrides": [], "cells": [cell], "baseline": baseline})
    study = read_study("own")
    planned = experiments("own", study)
    assert [experiment.overrides[-3:] for experiment in planned] == [
        ["optimizer.svoice.lr=1", "svoice.group_norm=true", "seed=0"],
        ["optimizer.svoice.lr=1", "svoice.group_norm=false", "seed=0"],
        ["optimizer.svoice.lr=1e-05", "svoice.group_norm=true", "seed=0"],
        ["optimizer.svoice.lr=1e-05", "svoice.group_norm=false", "seed=0"],
    ]
    values = [composed(*experiment.overrides) for experiment in planned]
    assert {value["music"]["path"] for value in values} == {path}
    assert {value["music"]["validation_tracks"] for value in values} == {None}
    assert [value["svoice"]["group_norm"] for value in values] == [True, False, True, False]
    assert [value["optimizer"]["svoice"]["lr"] for value in values] == [1, 1, 1e-5, 1e-5]
    assert baseline_name("own", study, planned) == planned[1].name


def test_targets_are_stages():
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    for name in STUDIES:
        assert set(read_study(name).targets) <= set(stages)


def test_an_unknown_study_is_one_line():
    with pytest.raises(InputError) as caught:
        read_study("publishd")
    assert str(caught.value) == (
        f"NAME: there is no study 'publishd'; choose one of {', '.join(STUDIES)}"
    )


COMPLETE = "overrides: []\ncells: [{}]\nbaseline: {}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cells: []\nbaseline: {}\n",
            ", overrides: is missing; "
            "a study has overrides, cells and a baseline, as conf/study/mini.yaml",
        ),
        ("[adam, sgd]", ": found ['adam', 'sgd'], expected a group of settings"),
        ("", ": found None, expected a group of settings"),
        (
            f"{COMPLETE}seeds: 3\n",
            ", seeds: there is no such key here (its value is 3); remove it",
        ),
        (f"{COMPLETE}seed: -1\n", ", seed: found -1, expected a number of at least 0"),
        (
            "overrides: svoice.epochs=2\ncells: []\nbaseline: {}\n",
            ", overrides: found 'svoice.epochs=2', expected a list",
        ),
        (
            "overrides: []\ncells: [{optimizer: adam}, {optimizer: {name: sgd}}]\nbaseline: {}\n",
            ", cells.1.optimizer: found {'name': 'sgd'}, "
            "expected text, a whole number, a number, true or false or a list",
        ),
        (
            "overrides: []\ncells: [{optimizer: [adam, [sgd]]}]\nbaseline: {}\n",
            ", cells.0.optimizer.1: found ['sgd'], "
            "expected text, a whole number, a number or true or false",
        ),
        (
            "overrides: []\ncells: []\nbaseline: {}\n",
            ", cells: found [], expected a list that is not empty",
        ),
        (
            "overrides: []\ncells: [{optimizer: []}]\nbaseline: {}\n",
            ", cells.0.optimizer: found [], expected text, a whole number, a number, true or false "
            "or a list that is not empty",
        ),
        (
            "overrides: [seed=1, 'optimizer=adam,sgd']\ncells: [{}]\nbaseline: {}\n",
            ", overrides.1: optimizer=adam,sgd gives several values; give one; "
            "if a comma is part of it, put it in quotes: 'optimizer=\"adam,sgd\"'",
        ),
        (
            "overrides: []\ncells: [{}, {music path: /songs}]\nbaseline: {}\n",
            ', cells.1: Hydra cannot read music path="/songs"; '
            "put its value in quotes: 'music path=\"/songs\"'",
        ),
        (
            "overrides: []\ncells: [{}]\nbaseline: {'': adam}\n",
            ", baseline: '=\"adam\"' is not a setting; "
            "write KEY=VALUE, a value with spaces in quotes: 'KEY=\"a b\"'",
        ),
        ("cells: [", ": is not valid YAML ("),
    ],
)
def test_a_file_that_is_not_a_study_is_one_line(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "study"
    folder.mkdir(parents=True)
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_study("bad")
    line = str(caught.value)
    if message.endswith("("):
        assert line.startswith(f"conf/study/bad.yaml{message}")
    else:
        assert line == f"conf/study/bad.yaml{message}"
    assert "\n" not in line and "pydantic" not in line


def first_name(*settings: str) -> str:
    """Returns the name of the first experiment of `mini` with more settings."""
    return experiments("mini", read_study("mini"), 1, settings)[0].name


def test_a_name_is_made_of_the_settings():
    assert first_name() == "mini-adam-step-norm-seed0"
    name = first_name("svoice.lr=1e+3", "svoice.batch_size=4")
    assert name == "mini-adam-step-norm-seed0-lr1e3-batch-size4"


LONG = "x" * 300


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"music.path={LONG}a", f"music.path={LONG}b"),
        ("music.path=/my songs", "music.path=/my-songs"),
        ('music.path="/Müsik"', 'music.path="/Mäsik"'),
        ("music.path=../songs", "music.path=./songs"),
        ("music.path=songs.lock", "music.path=songs"),
        (f"a={'y' * 180}.lock", f"a={'y' * 180}"),
        ("spleeter.filters=[1,2]", "spleeter.filters=[12]"),
        ("music.path=", "music.path=."),
    ],
)
def test_different_settings_have_different_names_that_git_accepts(first, second):
    names = first_name(first), first_name(second)
    assert names[0] != names[1]
    assert names == (first_name(first), first_name(second))
    for name in names:
        assert name.startswith("mini-adam-step-norm-seed0-")
        assert len(name) <= 200
        assert not set("/~^: _") & set(name)
        subprocess.run(["git", "check-ref-format", f"refs/exps/ab/cdef/{name}"], check=True)
