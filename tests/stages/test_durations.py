"""How long the pipeline takes is known from what ran here before, or from a probe."""

import json
import time

import pytest

from contract.composed import read_groups
from contract.layout import CONFIGURATION, PIPELINE, TRAIN
from contract.models import MODELS
from stages import durations
from tests.conftest import ROOT
from tests.yaml_files import read_yaml

STAGES = list(read_yaml(ROOT / PIPELINE)["stages"])
REFERENCE = read_yaml(ROOT / durations.REFERENCE)


@pytest.fixture
def configuration(tmp_path, monkeypatch):
    """The default configuration, in a working directory with nothing but the reference."""
    monkeypatch.chdir(tmp_path)
    for path in (PIPELINE, CONFIGURATION, durations.REFERENCE):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes((ROOT / path).read_bytes())
    return read_groups(CONFIGURATION)


def write_train(steps=150, seconds_per_step=0.001, status="completed"):
    """Writes train.json of both models."""
    for model in MODELS.values():
        model.results.mkdir(parents=True, exist_ok=True)
        content = {"status": status, "steps": steps, "seconds_per_step": seconds_per_step}
        (model.results / TRAIN).write_text(json.dumps(content))


def test_the_default_pipeline_is_known_on_a_new_machine(configuration, monkeypatch):
    monkeypatch.setattr(durations, "probe", lambda: 2 * REFERENCE["probe"])
    known = durations.forecast(STAGES, configuration)
    assert (known.unknown, known.measured) == ((), False)
    at_reference = sum(seconds for seconds, _, _ in REFERENCE["durations"].values())
    assert known.seconds == pytest.approx(2 * at_reference)
    assert (
        str(known) == f"about {durations.in_words(known.seconds)}; by a short test of this machine"
    )


def test_a_training_takes_longer_with_more_steps(configuration):
    short = durations.forecast(["train_spleeter"], configuration).seconds
    configuration["spleeter"]["steps"] *= 3
    long = durations.forecast(["train_spleeter"], configuration).seconds
    name = next(name for name in REFERENCE["durations"] if name.startswith("train_spleeter"))
    total, each, steps = REFERENCE["durations"][name]
    assert long / short == pytest.approx((total + 2 * steps * each) / total, rel=0.3)


def test_other_settings_are_not_known_before_they_have_run(configuration):
    configuration["svoice"]["N"] = 128
    known = durations.forecast(STAGES, configuration)
    assert "train_svoice" in known.unknown
    assert "train_spleeter" not in known.unknown
    assert "not known before they have run here with these settings: " in str(known)


def test_what_ran_here_counts(configuration):
    assert not durations.forecast(STAGES, configuration).measured
    write_train()
    for stage, definition in read_yaml(PIPELINE)["stages"].items():
        commands = definition["cmd"]
        for command in [commands] if isinstance(commands, str) else commands:
            durations.keep(stage, command.split()[2])
    assert durations.forecast(STAGES, configuration).measured
    (path,) = durations.folder().glob("train_spleeter-*.json")
    content = json.loads(path.read_text())
    assert (content["amount"], content["per_amount"]) == (150, pytest.approx(0.001))


def test_the_time_of_a_resumed_training_is_not_kept(configuration):
    write_train(steps=150, seconds_per_step=3600.0)
    durations.keep("train_spleeter", "stages.launch")
    assert not list(durations.folder().glob("train_*"))


def test_the_time_of_a_diverged_training_is_not_kept(configuration):
    write_train(steps=3, status="diverged")
    durations.keep("train_spleeter", "stages.launch")
    assert not list(durations.folder().glob("train_*"))


def test_the_time_of_a_stage_depends_on_nothing_but_its_own_settings(configuration):
    changes = (("optimizer", "name", "sgd"), ("schedule", "floor", 0.5), ("svoice", "N", 64))
    for group, key, value in changes:
        configuration[group][key] = value
    unknown = durations.forecast(STAGES, configuration).unknown
    assert unknown == ("train_svoice",)


def test_a_training_on_other_hardware_is_not_known(configuration):
    configuration["runtime"]["gpus"] = "none"
    unknown = durations.forecast(STAGES, configuration).unknown
    assert {"train_spleeter", "train_svoice"} <= set(unknown)
    assert "mix_speech" not in unknown


def test_the_probe_is_not_repeated_within_an_hour(configuration, monkeypatch):
    probes = iter([3.0, 5.0])
    monkeypatch.setattr(durations, "probe", lambda: next(probes))
    first = durations.forecast(STAGES, configuration).seconds
    assert durations.forecast(STAGES, configuration).seconds == first
    later = time.time() + 2 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert durations.forecast(STAGES, configuration).seconds == pytest.approx(first * 5 / 3)


def test_a_forecast_never_stops_a_stage(configuration, capsys):
    CONFIGURATION.write_text("runtime: docker\n")
    durations.print_remaining("train_spleeter")
    durations.keep("train_spleeter", "stages.launch")
    assert capsys.readouterr() == ("", "")


def test_what_comes_before_a_stage_is_done(configuration):
    began = time.time() - 1
    left = durations.remaining("evaluate_svoice", began, configuration)
    assert durations.before("evaluate_svoice") >= {"settings", "train_svoice", "bound_speech"}
    assert "train_spleeter" not in durations.before("evaluate_svoice")
    both = durations.forecast(
        [stage for stage in STAGES if stage not in durations.before("evaluate_svoice")],
        configuration,
    )
    assert left.seconds == pytest.approx(both.seconds, rel=0.3)


def test_a_broken_file_is_no_error(configuration):
    name = next(iter(REFERENCE["durations"]))
    path = durations.folder() / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"hardware": "a machi')
    assert not durations.forecast(STAGES, configuration).unknown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "10 seconds"),
        (44, "40 seconds"),
        (100, "2 minutes"),
        (60 * 60, "60 minutes"),
        (2 * 60 * 60 + 600, "2 hours 10 minutes"),
        (25 * 60 * 60, "25 hours"),
    ],
)
def test_durations_are_in_words(seconds, words):
    assert durations.in_words(seconds) == words


def test_the_probe_measures_this_machine():
    assert 0 < durations.probe() < 60
