"""How long a study takes is the sum of its experiments, as far as that is known."""

import pytest

from stages.durations import Forecast
from studies import runner
from studies.definition import Experiment, Study
from tests import nvidia_smi
from tests.conftest import ROOT
from tests.yaml_files import read_yaml

STAGES = set(read_yaml(ROOT / "dvc.yaml")["stages"])
STUDY = Study(overrides=["svoice.epochs=2"], cells=[{"seed": 0}], baseline={"seed": 0})
THERE = Forecast(10, True, ())  # data that was prepared here before


@pytest.fixture
def words(monkeypatch):
    """How long experiments take: each 60 s, and as many more as it has steps of Spleeter."""
    monkeypatch.chdir(ROOT)

    def words(*overrides, data=THERE, unknown=()):
        def forecast(stages, configuration, elsewhere=None):
            if "train_spleeter" not in stages:
                return data
            assert not {"fetch_music", "mix_speech", "bound_speech"} & set(stages)
            assert configuration["svoice"]["epochs"] == 2
            return Forecast(60 + configuration["spleeter"]["steps"], True, unknown)

        monkeypatch.setattr(runner, "forecast", forecast)
        cells = [Experiment(str(number), list(each)) for number, each in enumerate(overrides)]
        return runner.time_left(cells, STUDY, STAGES)

    return words


def test_each_experiment_counts_with_its_own_settings(words):
    seeds = [["seed=1", "spleeter.steps=540"], ["seed=2", "spleeter.steps=540"]]
    assert words(*seeds, ["spleeter.steps=1140", "optimizer=sgd"]) == "; about 40 minutes to go"


def test_data_that_is_not_there_is_mentioned(words):
    by_probe, unknown = Forecast(10, False, ()), Forecast(0, True, ("fetch_music",))
    for data in (by_probe, unknown):
        expected = "; about 10 minutes to go once the data is there"
        assert words(["spleeter.steps=540"], data=data) == expected


def test_what_has_never_run_is_not_known(words):
    expected = "; how long they take shows when the first is done"
    assert words(["seed=1"], unknown=("train_svoice",)) == expected


def test_nothing_is_said_of_no_experiments(words):
    assert words() == ""


@pytest.mark.parametrize("override", ["svoice.epoch=8", "svoice.epochs=abc", "music=folders"])
def test_wrong_settings_are_left_to_the_queue(words, override):
    assert words([override]) == ""


def test_as_many_experiments_at_once_as_there_are_gpus(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    nvidia_smi.install(monkeypatch, tmp_path, [nvidia_smi.StandIn(f"GPU-{k}") for k in range(4)])
    one, two = Experiment("a", ["seed=1"]), Experiment("b", ["seed=1", "runtime.gpus=2"])
    assert runner.jobs_for_gpus([one], STUDY) == 4
    assert runner.jobs_for_gpus([one, two], STUDY) == 2
    nvidia_smi.install(monkeypatch, tmp_path)
    assert runner.jobs_for_gpus([one, two], STUDY) == 1
