"""params.yaml is what conf/ composes, and every value is checked in one clear line."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from contract.errors import InputError
from contract.menu import GROUPS as MENU
from contract.params import check, load
from tests.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
TRAINING = ("optimizer", "schedule", "clipping")
GROUPS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("music", "speech", "spleeter", "svoice", *TRAINING, "runtime")
}


# What has no default: data of one's own.
GIVEN = {
    "music=folder": ["music.path=/songs"],
    "speech=folder": ["speech.path=/mixtures"],
    **{f"speech=wsj0_{n}mix": ["speech.corpus=/wsj0"] for n in (2, 3, 4, 5)},
}


def composed(*overrides: str) -> dict:
    with initialize_config_dir(str(CONF), version_base=None):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)


def test_params_yaml_is_what_conf_composes():
    assert read_yaml(ROOT / "params.yaml") == composed()


def test_every_choice_of_every_group_is_valid():
    for group, choices in GROUPS.items():
        assert choices, group
        for choice in choices:
            given = GIVEN.get(f"{group}={choice}", [])
            params = check(composed(f"{group}={choice}", *given))
            chosen = getattr(params, group)
            assert (chosen["name"] if isinstance(chosen, dict) else chosen.name) == choice


@pytest.mark.parametrize("choice", GIVEN)
def test_what_has_no_default_is_asked_for(choice):
    key = GIVEN[choice][0].partition("=")[0]
    with pytest.raises(InputError, match=rf"^{key}: is not set; set it to .*the folder that holds"):
        check(composed(choice))


def test_the_standard_validation_tracks_are_musdbs():
    path = Path(find_spec("musdb").origin).parent / "configs" / "mus.yaml"
    expected = read_yaml(path)["validation_tracks"]
    for choice in ("musdb18hq", "musdb18_7s"):
        assert composed(f"music={choice}")["music"]["validation_tracks"] == expected


@pytest.mark.parametrize("group", MENU)
def test_every_choice_of_the_menu_has_a_file(group):
    assert GROUPS[group] == sorted(MENU[group])


def test_published_presets_set_the_studys_learning_rates():
    rates = {}
    for optimizer in GROUPS["optimizer"]:
        params = check(composed(f"optimizer={optimizer}", "spleeter=published", "svoice=published"))
        assert params.optimizer["svoice"]["lr"] == 5e-4
        rates[optimizer] = params.optimizer["spleeter"]["learning_rate"]
    assert rates.pop("adadelta") == 0.001
    assert set(rates.values()) == {0.1}


def test_only_the_published_svoice_counts_the_padding():
    assert check(composed("svoice=published")).svoice.count_padding is True
    assert check(composed()).svoice.count_padding is False


def changed(values: dict, key: str, value) -> dict:
    *groups, last = key.split(".")
    inner = values
    for group in groups:
        inner = inner[group]
    inner[last] = value
    return values


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer.svoice.lr", -1, "optimizer.svoice.lr: found -1, expected a number above 0"),
        ("optimizer.svoice.eps", 0, "optimizer.svoice.eps: found 0, expected a number above 0"),
        (
            "optimizer.spleeter.epsilon_before_correction",
            1,
            "optimizer.spleeter.epsilon_before_correction: found 1, expected true or false",
        ),
        ("optimizer.svoice.lr", float("nan"), "found nan, expected a number above 0"),
        (
            "optimizer.svoice.lr",
            "fast",
            "optimizer.svoice.lr: found 'fast', expected a number above",
        ),
        (
            "optimizer.spleeter.beta2",
            1.0,
            "optimizer.spleeter.beta2: found 1.0, expected a number from 0 up to but not 1",
        ),
        (
            "optimizer.svoice.rho",
            0.9,
            "optimizer.svoice.rho: there is no such setting (its value is 0.9)",
        ),
        (
            "optimizer.name",
            "adm",
            "optimizer.name: found 'adm', expected one of sgd, momentum, nes",
        ),
        ("schedule.factor", 1.5, "schedule.factor: found 1.5, expected a number between 0 and 1"),
        (
            "schedule.name",
            "stairs",
            "schedule.name: found 'stairs', expected one of constant, step",
        ),
        ("clipping.max_norm", 0, "clipping.max_norm: found 0, expected a number above 0"),
        ("spleeter.T", 100, "spleeter.T: found 100, expected a multiple of 64"),
        ("spleeter.F", 2112, "spleeter.F: found 2112, expected at most frame_length / 2 + 1 = 2"),
        ("svoice.L", 7, "svoice.L: found 7, expected a multiple of 2"),
        ("svoice.N", 60, "svoice.N: found 60, expected a multiple of svoice.L = 8"),
        ("svoice.N", 24, "svoice.N: found 24, expected at least L²/2 = 32"),
        ("svoice.epochs", 2.5, "svoice.epochs: found 2.5, expected a whole number from 1"),
        ("svoice.group_norm", "no", "svoice.group_norm: found 'no', expected true or false"),
        ("svoice.count_padding", 1, "svoice.count_padding: found 1, expected true or false"),
        (
            "speech.speakers",
            5,
            "speech.speakers: found 5, expected at most 4, the people in voices",
        ),
        ("speech.speakers", 1, "speech.speakers: found 1, expected a number from 2"),
        ("speech.mode", "mid", "speech.mode: found 'mid', expected 'min' or 'max'"),
        ("music.source.parts.test", [2.0, 1.0], "music.source.parts.test: found [2.0, 1.0]"),
        ("runtime.name", "podman", "runtime.name: found 'podman', expected local or docker"),
        ("runtime.gpus", 0, "runtime.gpus: found 0, expected all, none, how many, or a list of"),
        ("runtime.gpus", [], "runtime.gpus: found [], expected all, none, how many, or a list of"),
        ("runtime.gpus", True, "runtime.gpus: found True, expected all, none, how many, or a list"),
        ("runtime.memory", "2g", "runtime.memory: there is no such key here (its value is '2g')"),
        ("seed", 2**31, "seed: found 2147483648, expected a number up to 2147483647"),
        ("svoice.epochs", 2**31, "svoice.epochs: found 2147483648, expected a whole number from 1"),
        ("seed", -1, "seed: found -1, expected a number from 0"),
        ("seeds", 3, "seeds: there is no such key here (its value is 3)"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(key, value, message):
    with pytest.raises(InputError) as caught:
        check(changed(composed(), key, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("model", "epsilon"), [("spleeter", "epsilon"), ("svoice", "eps")])
def test_adagrad_needs_no_epsilon_where_it_begins_above_0(model, epsilon):
    values = composed("optimizer=adagrad")
    changed(values, f"optimizer.{model}.{epsilon}", 0.0)
    changed(values, f"optimizer.{model}.initial_accumulator_value", 0.1)
    check(values)
    with pytest.raises(InputError) as caught:
        check(changed(values, f"optimizer.{model}.initial_accumulator_value", 0.0))
    expected = "expected a number above 0, as initial_accumulator_value is 0"
    assert str(caught.value) == f"optimizer.{model}.{epsilon}: found 0.0, {expected}"


def test_ones_own_mixtures_may_be_of_ten_speakers():
    values = composed("speech=folder", "speech.path=mine", "speech.speakers=10")
    assert check(values).speech.speakers == 10
    with pytest.raises(InputError, match=r"^speech.speakers: found 11, expected a number up to 10"):
        check(changed(values, "speech.speakers", 11))


def test_pesq_is_only_for_the_rates_it_knows():
    wanted = changed(composed(), "evaluation.pesq", True)
    assert check(wanted).evaluation.pesq
    with pytest.raises(InputError) as caught:
        check(changed(wanted, "speech.sample_rate", 11025))
    expected = "expected false, as speech.sample_rate is 11025"
    assert str(caught.value) == f"evaluation.pesq: found True, {expected}"


def test_a_missing_key_is_named():
    values = composed()
    del values["optimizer"]["svoice"]["lr"]
    with pytest.raises(
        InputError, match=r"^optimizer\.svoice\.lr: is missing; set it to a number above 0$"
    ):
        check(values)


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "1e3", "+1.5e2", "1."])
def test_numbers_written_by_hand_are_read_as_dvc_reads_them(tmp_path, written):
    path = tmp_path / "params.yaml"
    lines = (ROOT / "params.yaml").read_text().splitlines()
    lines = [f"    lr: {written}" if line.startswith("    lr: ") else line for line in lines]
    path.write_text("\n".join(lines))
    rate = load(path).optimizer["svoice"]["lr"]
    assert rate == float(written)
    assert rate == load_yaml(path)["optimizer"]["svoice"]["lr"]


@pytest.mark.parametrize(
    ("text", "found"),
    [("a: [1", "YAML"), ("a: 2026-13-01", "YAML"), ("- a", "found a list"), (None, "no such")],
)
def test_a_file_that_is_no_configuration(tmp_path, text, found):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=found) as caught:
        load(path)
    assert "\n" not in str(caught.value)


COMPOSE = """
import os, sys
from dvc.utils.hydra import compose_and_dump
conf = os.path.abspath("conf")
compose_and_dump(sys.argv[1], conf, None, "config", conf, sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "optimizer=adm",
            "In 'config': Could not find 'optimizer/adm'; available options in 'optimizer': "
            "adadelta, adagrad, adam, adamax, adamw, momentum, nadam, nesterov, rmsprop, sgd",
        ),
        ("optimiser=sgd", "optimiser: there is no such key; see the keys in params.yaml"),
        (
            "optimizer.svoice.learning=1",
            "optimizer.svoice.learning: there is no such key; see the keys in params.yaml",
        ),
        ("optimizer.svoice.lr=-1", "optimizer.svoice.lr: found -1, expected a number above 0"),
        (
            "optimizer=[adam,sgd]",
            "optimizer: [adam,sgd] is a list, not a choice; choose one, or queue one experiment "
            "each: `--queue -S 'optimizer=adam,sgd'`",
        ),
        (
            "seed=99999999999999999999",
            "seed: found 99999999999999999999, expected a number up to 2147483647",
        ),
        (
            "music.path='/a,b'",
            "music.path: found '/a,b', expected null, as music=mini takes no path; "
            "music=musdb18hq, music=musdb18_7s or music=folder takes one",
        ),
        (
            "speech.path=/a",
            "speech.path: this choice of speech has no such key; "
            "it belongs to speech=svoice_debug or speech=folder",
        ),
        (
            "music.url=${nothing}",
            "music.url: refers to a key that does not exist; "
            "if ${…} is meant literally, write \\${…}",
        ),
    ],
)
def test_dvc_refuses_to_compose_it_and_writes_nothing(tmp_path, override, message):
    output = tmp_path / "params.yaml"
    done = subprocess.run(
        [sys.executable, "-c", COMPOSE, output, override],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == f"ERROR: {message}\n"
    assert not output.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("runtime.memory", "lots", "runtime.memory: found 'lots', expected text of the form "),
        ("runtime.cpus", 0, "runtime.cpus: found 0, expected a number above 0"),
        (
            "runtime.base.svoice",
            "",
            "runtime.base.svoice: found '', expected text",
        ),
    ],
)
def test_a_bad_value_of_a_container_is_named(key, value, message):
    with pytest.raises(InputError) as caught:
        check(changed(composed("runtime=docker"), key, value))
    assert str(caught.value).startswith(message)
