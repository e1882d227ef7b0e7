"""Spleeter's JSON configuration: the settings that it becomes, and what is refused."""

import json
import math
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.menu import GROUPS, OPTIMIZERS
from contract.model_settings import SpleeterSettings
from spleeter_mod import configuration
from tests.spleeter_mod.material import CONF, STUDY, choice, published_optimizer


@pytest.fixture
def read(tmp_path, monkeypatch):
    """A function that reads a changed configuration of the study; "missing" leaves out a key."""
    monkeypatch.chdir(tmp_path)

    def read(**changes):
        values = {key: value for key, value in {**STUDY, **changes}.items() if value != "missing"}
        Path("config.json").write_text(json.dumps(values))
        return configuration.read(Path("config.json"))

    return read


def test_the_studys_configuration_is_the_published_preset(read):
    """The study had neither schedules nor clipping."""
    published = choice("spleeter", "published")
    nesterov = choice("optimizer", "nesterov")["spleeter"]
    actual = read().settings
    names = [field.name for field in fields(SpleeterSettings) if field.name != "name"]
    sizes = {name: getattr(actual, name) for name in names}
    assert {"name": "published", **sizes} == published["spleeter"]
    assert actual.seed == published["seed"]
    rate = published["optimizer"]["spleeter"]
    assert actual.optimizer == {"name": "nesterov", **nesterov, **rate}
    assert actual.schedule == {"name": "constant", "warmup_steps": 0}
    assert actual.clipping == {"name": "none"}


def test_the_settings_give_spleeters_configuration_again(read):
    actual = read().settings.spleeter()
    for key, value in actual.items():
        if key != "model":
            assert value == STUDY[key], key
    assert actual["model"]["params"].pop("conv_n_filters") == [16, 32, 64, 128, 256, 512]
    assert actual["model"] == STUDY["model"]


@pytest.mark.parametrize("alias", [*configuration.ALIASES, *OPTIMIZERS])
def test_an_optimizer_may_have_spleeters_name_or_that_of_the_menu(read, alias):
    optimizer = read(optimizer=alias).settings.optimizer
    name = configuration.ALIASES.get(alias, alias)
    assert optimizer["name"] == name
    assert optimizer["learning_rate"] == (0.001 if alias == "Adadelta" else 0.1)
    assert set(optimizer) == {"name", *choice("optimizer", name)["spleeter"]}


@pytest.mark.parametrize("alias", configuration.ALIASES)
def test_an_optimizer_of_the_study_is_that_of_the_published_preset(read, alias):
    name = configuration.ALIASES[alias]
    expected = {"name": name, **published_optimizer(name)}
    assert read(optimizer=alias).settings.optimizer == expected


def test_a_note_says_that_adadelta_does_not_use_the_rate(read):
    assert read(optimizer="Adadelta").notes[0] == (
        "learning_rate 0.1 is not used: Spleeter leaves Adadelta at TensorFlow's 0.001 "
        "(an optimizer named adadelta takes it)"
    )


def test_all_passes_have_the_same_order_with_a_cache_as_in_spleeter(read):
    assert read().settings.same_passes
    assert not read(training_cache="missing").settings.same_passes


def test_an_optimizer_may_bring_its_own_settings(read):
    settings = read(optimizer={"name": "adamw", "weight_decay": 0.5, "learning_rate": 2}).settings
    expected = {"learning_rate": 2, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    assert settings.optimizer == {"name": "adamw", **expected, "weight_decay": 0.5}


@pytest.mark.parametrize("group", ["schedule", "clipping"])
def test_a_group_of_conf_can_be_a_value(read, group):
    choices = [choice(group, path.stem) for path in (CONF / group).glob("*.yaml")]
    assert len(choices) == len(GROUPS[group])
    for values in choices:
        assert getattr(read(**{group: values}).settings, group) == values


def test_the_default_optimizer_is_adam_as_in_spleeter(read):
    assert read(optimizer="missing").settings.optimizer["name"] == "adam"


BAD = {
    "unknown optimizer": (
        {"optimizer": "Adm"},
        'config.json: optimizer: found "Adm", expected one of Adadelta, SGD, Adam, Adagrad, '
        "RMSProp, Nesterov, sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam, adamw, "
        "adamax, nadam, lion, muon, schedulefree, prodigy",
    ),
    "list as the name of an optimizer": (
        {"optimizer": {"name": []}},
        "config.json: optimizer: found [], expected one of Adadelta, SGD, Adam, Adagrad, RMSProp, "
        "Nesterov, sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam, adamw, adamax, "
        "nadam, lion, muon, schedulefree, prodigy",
    ),
    "number as an optimizer": (
        {"optimizer": 5},
        "config.json: optimizer: found 5, expected a name or an object",
    ),
    "unknown setting of an optimizer": (
        {"optimizer": {"name": "adam", "rho": 0.9}},
        "config.json: optimizer.rho: there is no such setting (its value is 0.9); the settings of "
        "config.json: optimizer are: learning_rate, beta1, beta2, epsilon, "
        "epsilon_before_correction",
    ),
    "no rate": (
        {"learning_rate": "missing"},
        "config.json: optimizer.learning_rate: found None, expected a number above 0",
    ),
    "unknown schedule": (
        {"schedule": "lines"},
        "config.json: schedule.name: found 'lines', expected one of constant, step, plateau, "
        "exponential, cosine, linear, wsd",
    ),
    "half a schedule": (
        {"schedule": {"name": "step", "factor": 0.5}},
        "config.json: schedule.epochs: is missing; set it to a whole number from 1 to 2147483647",
    ),
    "unknown clipping": (
        {"clipping": {"name": "norms", "max_norm": 1}},
        "config.json: clipping.name: found 'norms', expected one of none, norm, value, adaptive, "
        "autoclip",
    ),
    "not a flag": (
        {"optimizer": {"name": "rmsprop", "epsilon_inside_root": 1}},
        "config.json: optimizer.epsilon_inside_root: found 1, expected true or false",
    ),
    "not a number": (
        {"clipping": {"name": "norm", "max_norm": "5"}},
        "config.json: clipping.max_norm: found '5', expected a number above 0",
    ),
    "unknown key": (
        {"lerning_rate": 1},
        "config.json: has the unknown key 'lerning_rate'; the keys are: "
        f"{', '.join(configuration._KEYS)}",
    ),
    "missing key": (
        {"train_max_steps": "missing"},
        "config.json: has no key train_max_steps; set it to a whole number from 1 to 2147483647",
    ),
    "not a whole number": (
        {"batch_size": 4.0},
        "config.json: batch_size: found 4.0, expected a whole number from 1 to 2147483647",
    ),
    "T": ({"T": 100}, "config.json: T: found 100, expected a multiple of 64, at most 2147483647"),
    "T in another form": (
        {"T": 512.0},
        "config.json: T: found 512.0, expected a multiple of 64, at most 2147483647",
    ),
    "F": (
        {"F": 2112},
        "config.json: F: found 2112, expected at most frame_length / 2 + 1 = 2049 frequency bins",
    ),
    "frames with gaps between them": (
        {"frame_step": 4097},
        "config.json: frame_step: found 4097, expected at most frame_length = 4096 samples",
    ),
    "chunks too short": (
        {"chunk_duration": 3},
        "config.json: chunk_duration: found 3, expected at least 11.981 s, to hold T = 512 frames",
    ),
    "mono": ({"n_channels": 1}, "config.json: n_channels: found 1, expected 2"),
    "another network": (
        {"model": {"type": "blstm.blstm", "params": {}}},
        'config.json: model.type: found "blstm.blstm", expected unet.unet or unet.softmax_unet',
    ),
    "no model": ({"model": None}, "config.json: model: found None, expected an object"),
    "number as the parameters of the network": (
        {"model": {"params": 5}},
        "config.json: model.params: found 5, expected an object",
    ),
    "no parameters of the network": (
        {"model": {"params": None}},
        "config.json: model.params: found None, expected an object",
    ),
    "unknown extension of the masks": (
        {"mask_extension": "foo"},
        "config.json: mask_extension: found 'foo', expected one of zeros, average",
    ),
    "unknown loss": (
        {"loss_type": "foo"},
        "config.json: loss_type: found 'foo', expected L1_mask",
    ),
    "no number as the exponent of the masks": (
        {"separation_exponent": math.nan},
        "config.json: separation_exponent: found nan, expected a number above 0",
    ),
    "no list of stems": (
        {"instrument_list": "vocals"},
        "config.json: instrument_list: found 'vocals', expected a list of names",
    ),
    "no stems": (
        {"instrument_list": []},
        "config.json: instrument_list: found [], expected at least one name",
    ),
    "number as a stem": (
        {"instrument_list": ["vocals", 5]},
        "config.json: instrument_list[1]: found 5, expected a name",
    ),
    "two stems of one name": (
        {"instrument_list": ["vocals", "vocals"]},
        "config.json: instrument_list[1]: found 'vocals', expected a name that neither the mixture "
        "nor another stem has",
    ),
    "mixture as a stem": (
        {"instrument_list": ["vocals", "mix"]},
        "config.json: instrument_list[1]: found 'mix', expected a name that neither the mixture "
        "nor another stem has",
    ),
    "filters": (
        {"model": {"type": "unet.unet", "params": {"conv_n_filters": [4, 4]}}},
        "config.json: model.params.conv_n_filters: found [4, 4], expected a list of 6, each "
        "a whole number from 1 to 2147483647",
    ),
}


@pytest.mark.parametrize(("changes", "line"), BAD.values(), ids=BAD)
def test_a_bad_configuration_is_refused(read, changes, line):
    with pytest.raises(InputError) as refused:
        read(**changes)
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "other.json: is not a JSON file (*); correct it"),
        ("[]", "other.json: is not a JSON object; write the keys of Spleeter's configuration"),
        (None, "other.json: there is no such file; name Spleeter's configuration"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_refused(tmp_path, monkeypatch, content, line):
    monkeypatch.chdir(tmp_path)
    path = Path("other.json")
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as refused:
        configuration.read(path)
    assert fnmatchcase(str(refused.value), line), refused.value


def test_a_model_dir_with_other_files_in_it_is_refused(read):
    run = read()
    run.check_model_dir()
    run.model_dir.mkdir()
    (run.model_dir / "checkpoint").touch()
    run.check_model_dir()
    (run.model_dir / "model.ckpt-300.index").touch()  # stock Spleeter's
    with pytest.raises(InputError) as refused:
        run.check_model_dir()
    assert str(refused.value) == (
        "model_dir musdb_model: holds model.ckpt-300.index, which spleeter_mod has not written; "
        "name an empty folder, or a new one"
    )
