"""Studies: which experiments they stand for, and that DVC accepts their settings and names."""

from __future__ import annotations

import subprocess

import pytest

from contract.errors import InputError
from contract.params import check
from studies.definition import baseline_name, experiments, read_study
from tests.conftest import ROOT
from tests.contract.test_params import composed
from tests.yaml_files import read_yaml

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
    baseline = planned[baseline_name(list(planned.values()), study)]
    choices = {f"{key}={value}" for key, value in study.baseline.items()}
    assert choices <= set(baseline.overrides)


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


COMPLETE = "overrides: []\ncells: []\nbaseline: {}\n"


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
            "expected text, a whole number, a number or a list",
        ),
        (
            "overrides: []\ncells: [{optimizer: [adam, [sgd]]}]\nbaseline: {}\n",
            ", cells.0.optimizer.1: found ['sgd'], expected text, a whole number or a number",
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
