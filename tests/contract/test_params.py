"""configuration.yaml is what conf/ composes, and a wrong value in it is one clear line."""

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from contract.errors import InputError
from contract.menu import GROUPS as MENU
from contract.params import check, load
from contract.ranges import SAMPLES
from tests import forked
from tests.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
TRAINING = ("optimizer", "schedule", "clipping")
GROUPS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("music", "speech", "spleeter", "svoice", *TRAINING, "runtime")
}


# What the user has to set, because it has no default: the place of their own data.
REQUIRED = {
    "music=folder": ["music.path=/songs"],
    "speech=folder": ["speech.path=/mixtures"],
    **{f"speech=wsj0_{n}mix": ["speech.corpus=/wsj0"] for n in (2, 3, 4, 5)},
}


def composed(*overrides: str) -> dict:
    """The configuration that conf/ composes with these overrides."""
    with initialize_config_dir(str(CONF), version_base=None):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)


def test_params_yaml_is_what_conf_composes():
    assert read_yaml(ROOT / "configuration.yaml") == composed()


def test_every_choice_of_every_group_is_valid():
    for group, choices in GROUPS.items():
        assert choices, group
        for choice in choices:
            required = REQUIRED.get(f"{group}={choice}", [])
            params = check(composed(f"{group}={choice}", *required))
            settings = getattr(params, group)
            name = settings["name"] if isinstance(settings, dict) else settings.name
            assert name == choice


@pytest.mark.parametrize("choice", REQUIRED)
def test_an_error_says_what_to_set_where_there_is_no_default(choice):
    key = REQUIRED[choice][0].partition("=")[0]
    corpus = "your licensed copy of WSJ0 (LDC93S6A), the folder that holds wsj0/si_tr_s"
    expected = {
        "music=folder": "the folder that holds train/ and test/",
        "speech=folder": "the folder that holds tr/, cv/ and tt/",
    }.get(choice, corpus)
    assert error_of(composed(choice)) == f"{key}: is not set; set it to {expected}"


def test_the_validation_tracks_are_those_of_the_musdb_package():
    path = Path(find_spec("musdb").origin).parent / "configs" / "mus.yaml"
    expected = read_yaml(path)["validation_tracks"]
    for choice in ("musdb18hq", "musdb18_7s"):
        assert composed(f"music={choice}")["music"]["validation_tracks"] == expected


@pytest.mark.parametrize("group", MENU)
def test_every_choice_of_the_menu_has_a_file(group):
    assert GROUPS[group] == sorted(MENU[group])


def test_the_published_presets_have_the_learning_rates_of_the_study():
    rates = {}
    for optimizer in GROUPS["optimizer"]:
        params = check(composed(f"optimizer={optimizer}", "spleeter=published", "svoice=published"))
        assert params.optimizer["svoice"]["lr"] == 5e-4
        rates[optimizer] = params.optimizer["spleeter"]["learning_rate"]
    assert rates.pop("adadelta") == 0.001
    assert set(rates.values()) == {0.1}


@pytest.mark.parametrize("optimizer", GROUPS["optimizer"])
def test_the_presets_of_full_size_compose_with_every_optimizer(optimizer):
    params = check(composed(f"optimizer={optimizer}", "spleeter=musdb", "svoice=paper"))
    default = check(composed(f"optimizer={optimizer}"))
    assert (params.spleeter.name, params.svoice.name) == ("musdb", "paper")
    assert params.optimizer["svoice"]["lr"] == 5e-4
    # Spleeter's own rate is that of Adam.
    expected = 1e-4 if optimizer == "adam" else default.optimizer["spleeter"]["learning_rate"]
    assert params.optimizer["spleeter"]["learning_rate"] == expected


def test_the_papers_network_is_that_of_the_student_study_with_other_batches():
    paper, study = (check(composed(f"svoice={name}")).svoice for name in ("paper", "published"))
    assert replace(paper, name="published", batch_size=4) == study
    assert (paper.batch_size, paper.epochs) == (2, 100)


def test_only_the_presets_of_the_original_count_the_padding():
    assert check(composed("svoice=published")).svoice.count_padding is True
    assert check(composed("svoice=paper")).svoice.count_padding is True
    assert check(composed()).svoice.count_padding is False


def changed(values: dict, key: str, value: object) -> dict:
    """A configuration with one value changed, in place."""
    *groups, last = key.split(".")
    inner = values
    for group in groups:
        inner = inner[group]
    inner[last] = value
    return values


def error_of(values: dict) -> str:
    """The message with which a configuration is refused."""
    with pytest.raises(InputError) as caught:
        check(values)
    return str(caught.value)


ABOVE_0 = "a number above 0"
GPUS = "auto, all, none, a count, or a list of numbers or UUIDs"
COUNT = "a whole number from 1 to 2147483647"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("optimizer.svoice.lr", -1, ABOVE_0),
        ("optimizer.svoice.eps", 0, ABOVE_0),
        ("optimizer.spleeter.epsilon_before_correction", 1, "true or false"),
        ("optimizer.svoice.lr", float("nan"), ABOVE_0),
        ("optimizer.svoice.lr", "fast", ABOVE_0),
        ("optimizer.spleeter.beta2", 1.0, "a number from 0 to below 1"),
        ("optimizer.name", "adm", f"one of {', '.join(MENU['optimizer'])}"),
        ("schedule.floor", 1.5, "a number from 0 to below 1"),
        ("schedule.name", "stairs", f"one of {', '.join(MENU['schedule'])}"),
        ("clipping.max_norm", 0, ABOVE_0),
        ("spleeter.T", 100, "a multiple of 64, at most 2147483647"),
        ("spleeter.F", 2112, "at most frame_length / 2 + 1 = 2049 frequency bins"),
        ("spleeter.frame_step", 4097, "at most frame_length = 4096 samples"),
        ("spleeter.chunk_seconds", 0.1, "at least 1.579 s, to hold T = 64 frames"),
        ("svoice.segment_seconds", 1e-4, "at least as long as svoice.L = 8 samples"),
        ("svoice.stride_seconds", 1e-5, SAMPLES),
        ("evaluation.window_seconds", 1e-6, SAMPLES),
        ("evaluation.hop_seconds", 1e-6, SAMPLES),
        ("svoice.segment_seconds", 1e305, SAMPLES),
        ("svoice.stride_seconds", 1e305, SAMPLES),
        ("evaluation.window_seconds", 1e305, SAMPLES),
        ("evaluation.hop_seconds", 1e6, SAMPLES),
        ("svoice.L", 7, "a multiple of 2, at most 2147483647"),
        ("svoice.N", 60, "a multiple of svoice.L = 8"),
        ("svoice.N", 24, "at least L²/2 = 32, else the decoder leaves gaps"),
        ("svoice.epochs", 2.5, COUNT),
        ("svoice.epochs", 2**31, COUNT),
        ("svoice.group_norm", "no", "true or false"),
        ("svoice.count_padding", 1, "true or false"),
        ("speech.speakers", 5, "at most 2, the people in voices"),
        ("speech.speakers", 1, "a number of at least 2"),
        ("speech.mode", "mid", "'min' or 'max'"),
        ("music.source.parts.test", [2.0, 1.0], "a start before its end"),
        ("runtime.name", "singularity", "local, docker or podman"),
        ("runtime.gpus", 0, GPUS),
        ("runtime.gpus", [], GPUS),
        ("runtime.gpus", True, GPUS),
        ("seed", 2**31, "a number of at most 2147483647"),
        ("seed", -1, "a number of at least 0"),
    ],
)
def test_an_error_names_a_wrong_value_and_what_is_allowed(key, value, expected):
    message = error_of(changed(composed(), key, value))
    assert message == f"{key}: found {value!r}, expected {expected}"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "optimizer.svoice.rho",
            0.9,
            "optimizer.svoice.rho: there is no such setting (its value is 0.9); the settings of "
            "optimizer.svoice are: lr, beta1, beta2, eps, epsilon_before_correction",
        ),
        (
            "optimizer.rho",
            0.9,
            "optimizer.rho: there is no such setting; the settings belong in optimizer.spleeter "
            "and optimizer.svoice",
        ),
        (
            "runtime.memory",
            "2g",
            "runtime.memory: there is no such key here (its value is '2g'); remove it",
        ),
        ("seeds", 3, "seeds: there is no such key here (its value is 3); remove it"),
    ],
)
def test_an_error_names_an_unknown_key(key, value, message):
    assert error_of(changed(composed(), key, value)) == message


@pytest.mark.parametrize(("model", "epsilon"), [("spleeter", "epsilon"), ("svoice", "eps")])
def test_adagrad_needs_no_epsilon_if_its_accumulator_begins_above_0(model, epsilon):
    values = composed("optimizer=adagrad")
    changed(values, f"optimizer.{model}.{epsilon}", 0.0)
    changed(values, f"optimizer.{model}.initial_accumulator_value", 0.1)
    check(values)
    message = error_of(changed(values, f"optimizer.{model}.initial_accumulator_value", 0.0))
    expected = "expected a number above 0, as initial_accumulator_value is 0"
    assert message == f"optimizer.{model}.{epsilon}: found 0.0, {expected}"


def test_the_users_own_mixtures_may_have_ten_speakers():
    values = composed("speech=folder", "speech.path=/mixtures", "speech.speakers=10")
    assert check(values).speech.speakers == 10
    assert error_of(changed(values, "speech.speakers", 11)) == (
        "speech.speakers: found 11, expected a number of at most 10"
    )


def test_the_speakers_of_wsj0_mix_are_those_in_its_name():
    values = composed("speech=wsj0_2mix", "speech.corpus=/wsj0", "speech.speakers=3")
    assert error_of(values) == "speech.speakers: found 3, expected the number in wsj0_2mix"


def test_pesq_can_be_computed_only_at_the_rates_that_it_is_defined_for():
    values = changed(composed(), "evaluation.pesq", True)
    assert check(values).evaluation.pesq is True
    assert error_of(changed(values, "speech.sample_rate", 11025)) == (
        "evaluation.pesq: found True, expected false, as speech.sample_rate is 11025"
    )


def test_an_error_names_a_missing_key():
    values = composed()
    del values["optimizer"]["svoice"]["lr"]
    assert error_of(values) == "optimizer.svoice.lr: is missing; set it to a number above 0"
    values = composed()
    del values["seed"]
    remedy = "run `dvc exp run` to compose configuration.yaml from conf/"
    assert error_of(values) == f"seed: is missing; {remedy}"


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "1e3", "+1.5e2", "1."])
def test_numbers_written_by_hand_are_read_as_dvc_reads_them(tmp_path, written):
    path = tmp_path / "configuration.yaml"
    lines = (ROOT / "configuration.yaml").read_text().splitlines()
    lines = [f"    lr: {written}" if line.startswith("    lr: ") else line for line in lines]
    path.write_text("\n".join(lines))
    rate = load(path).optimizer["svoice"]["lr"]
    assert rate == float(written)
    assert rate == load_yaml(path)["optimizer"]["svoice"]["lr"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: [1",
            'is not valid YAML (while parsing a flow sequence in "<unicode string>", line 1, '
            "column 4: a: [1 ^ (line: 1) expected ',' or ']', but got '<stream end>' in "
            '"<unicode string>", line 1, column 6: a: [1 ^ (line: 1)); correct it',
        ),
        ("a: 2026-13-01", "is not valid YAML (month must be in 1..12); correct it"),
        ("- a", "does not hold the groups of conf/; run `dvc exp run` to compose it"),
        (None, "there is no such file; run `dvc exp run` to compose it"),
    ],
    ids=["syntax", "date", "list", "none"],
)
def test_a_file_that_is_not_a_configuration_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "configuration.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {message}"


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
            "optimizer: found 'adm', expected one of "
            "adadelta, adagrad, adam, adamax, adamw, lion, momentum, muon, nadam, nesterov, "
            "prodigy, rmsprop, schedulefree, sgd",
        ),
        ("optimiser=sgd", "optimiser: there is no such key; see the keys in configuration.yaml"),
        (
            "optimizer.svoice.learning=1",
            "optimizer.svoice.learning: there is no such key; see the keys in configuration.yaml",
        ),
        ("optimizer.svoice.lr=-1", "optimizer.svoice.lr: found -1, expected a number above 0"),
        (
            "optimizer=[adam,sgd]",
            "optimizer: [adam,sgd] is a list, not a choice; choose one, or queue one experiment "
            "each: `--queue -S 'optimizer=adam,sgd'`",
        ),
        (
            "seed=99999999999999999999",
            "seed: found 99999999999999999999, expected a number of at most 2147483647",
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
def test_dvc_refuses_a_wrong_override_and_writes_nothing(tmp_path, override, message):
    output = tmp_path / "configuration.yaml"
    command = [sys.executable, "-c", COMPOSE, output, override]
    done = forked.run_any(command, ROOT, os.environ)
    assert done.returncode == 1
    assert done.stderr == f"ERROR: {message}\n"
    assert not output.exists()


@pytest.mark.parametrize(
    ("choice", "key", "value", "expected"),
    [
        (
            "runtime=docker",
            "runtime.memory",
            "lots",
            "a whole number with the unit b, k, m or g, such as 16g",
        ),
        ("runtime=docker", "runtime.cpus", 0, ABOVE_0),
        ("runtime=docker", "runtime.base.svoice", "", "text that is not empty"),
        (
            "music=musdb18hq",
            "music.source.checksum",
            "12ab",
            "md5: with 32 or sha256: with 64 hexadecimal digits",
        ),
    ],
)
def test_an_error_names_a_wrong_value_of_another_choice(choice, key, value, expected):
    message = error_of(changed(composed(choice), key, value))
    assert message == f"{key}: found {value!r}, expected {expected}"
