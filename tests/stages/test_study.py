"""Studies: the experiments that they are, and that DVC takes what they set."""

import subprocess

import pytest

from metrics.errors import InputError
from stages import study
from stages.params import check
from tests.conftest import ROOT
from tests.stages.test_params import composed
from tests.yaml_files import read_yaml

STUDIES = sorted(path.stem for path in (ROOT / "conf" / "study").glob("*.yaml"))
OPTIMIZERS = ["adadelta", "adagrad", "adam", "rmsprop", "sgd"]


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


def chosen(name, seeds=1):
    """Each experiment's own settings."""
    found = study.experiments(name, study.read(name), seeds)
    return [dict(setting.split("=") for setting in each.overrides) for each in found]


def test_published_svoice_are_the_studys_eleven():
    found = {
        (each["optimizer"], each["schedule"], each["clipping"])
        for each in chosen("published_svoice")
    }
    both = {(optimizer, s, "norm") for optimizer in OPTIMIZERS for s in ("step", "plateau")}
    assert found == both | {("adam", "step", "none")}


def test_published_spleeter_are_the_studys_seven():
    found = {(each["optimizer"], each["spleeter.steps"]) for each in chosen("published_spleeter")}
    assert found == {(o, "100") for o in [*OPTIMIZERS, "nesterov"]} | {("nesterov", "2000")}


def test_published_spleeter_has_the_studys_seed():
    assert {each["seed"] for each in chosen("published_spleeter")} == {"4"}


def test_cells_that_a_setting_makes_the_same_are_one():
    read = study.read("published_spleeter")
    found = study.experiments("published_spleeter", read, 1, ["spleeter.steps=20"])
    assert len(found) == len({each.name for each in found}) == 6


@pytest.mark.parametrize("name", STUDIES)
def test_seeds_repeat_every_cell_under_names_of_their_own(name):
    once, thrice = chosen(name), chosen(name, 3)
    assert len(thrice) == 3 * len(once)
    first = study.read(name).seed
    assert {each["seed"] for each in thrice} == {str(first + number) for number in range(3)}
    names = [each.name for each in study.experiments(name, study.read(name), 3)]
    assert len(set(names)) == len(names)
    assert not set("/~^: _") & set("".join(names))  # what git or DVC would refuse


@pytest.mark.parametrize("name", STUDIES)
def test_every_experiment_is_a_valid_configuration(name):
    read = study.read(name)
    for experiment in study.experiments(name, read, 1):
        check(composed(*read.overrides, *experiment.overrides))


@pytest.mark.parametrize("name", STUDIES)
def test_the_baseline_is_one_of_its_cells(name):
    baseline = study.read(name).baseline
    assert any(
        all(each[key] == str(value) for key, value in baseline.items()) for each in chosen(name)
    )


def test_targets_are_stages():
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    for name in STUDIES:
        assert set(study.read(name).targets) <= set(stages)


def test_an_unknown_study_is_one_line():
    with pytest.raises(InputError) as raised:
        study.read("publishd")
    assert str(raised.value) == f"NAME: found 'publishd', expected one of {', '.join(STUDIES)}"


def named(*settings):
    """The name of mini's first experiment with these settings besides."""
    return study.experiments("mini", study.read("mini"), 1, settings)[0].name


def test_what_is_plain_is_told_whole():
    assert named() == "mini-adam-step-norm-seed0"
    assert named("svoice.lr=1e+3", "svoice.batch_size=4") == f"{named()}-lr1e3-batch-size4"


LONG = "x" * 300


@pytest.mark.parametrize(
    ("one", "other"),
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
def test_other_settings_have_another_name_that_git_bears(one, other):
    names = named(one), named(other)
    assert names[0] != names[1]
    assert names == (named(one), named(other))
    for name in names:
        assert name.startswith("mini-adam-step-norm-seed0-")
        assert len(name) <= 200
        assert not set("/~^: _") & set(name)
        subprocess.run(["git", "check-ref-format", f"refs/exps/ab/cdef/{name}"], check=True)
