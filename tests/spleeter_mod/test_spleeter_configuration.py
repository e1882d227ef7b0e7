"""Spleeter's JSON configuration: what it becomes, and what is refused."""

import json
from pathlib import Path

import pytest

from spleeter_mod import configuration, settings
from spleeter_mod.errors import InputError
from tests.spleeter_mod.material import CONF, STUDY, choice, published_optimizer


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(**changes):
        values = {key: value for key, value in {**STUDY, **changes}.items() if value != "missing"}
        Path("config.json").write_text(json.dumps(values))
        return configuration.read(Path("config.json"))

    return read


def test_the_studys_configuration_is_the_published_preset(read):
    """With conf/ as far as the study went: it knew neither schedules nor clipping."""
    published = choice("spleeter", "published")
    nesterov = choice("optimizer", "nesterov")["spleeter"]
    found = read().settings
    sizes = {key: getattr(found, key) for key in settings.SPLEETER_KEYS}
    assert {"name": "published", **sizes} == published["spleeter"]
    assert found.seed == published["seed"]
    rate = published["optimizer"]["spleeter"]
    assert found.optimizer == {"name": "nesterov", **nesterov, **rate}
    assert found.schedule == {"name": "constant", "warmup_steps": 0}
    assert found.clipping == {"name": "none"}


def test_it_is_spleeters_own_again_for_separating(read):
    found = read().settings.spleeter()
    for key, value in found.items():
        if key != "model":
            assert value == STUDY[key], key
    assert found["model"]["params"].pop("conv_n_filters") == [16, 32, 64, 128, 256, 512]
    assert found["model"] == STUDY["model"]


@pytest.mark.parametrize("called", [*configuration.ALIASES, *settings.OPTIMIZERS])
def test_optimizers_have_spleeters_names_and_ours(read, called):
    found = read(optimizer=called).settings.optimizer
    name = configuration.ALIASES.get(called, called)
    assert found["name"] == name
    assert found["learning_rate"] == (0.001 if called == "Adadelta" else 0.1)
    assert set(found) == {"name", *choice("optimizer", name)["spleeter"]}


@pytest.mark.parametrize("called", configuration.ALIASES)
def test_an_optimizer_of_the_study_is_what_the_published_preset_has(read, called):
    name = configuration.ALIASES[called]
    expected = {"name": name, **published_optimizer(name)}
    assert read(optimizer=called).settings.optimizer == expected


def test_adadelta_takes_no_rate_and_says_so(read):
    assert read(optimizer="Adadelta").notes[0].startswith("learning_rate 0.1 is not used: ")


def test_passes_begin_alike_with_a_cache_as_in_spleeter(read):
    assert read().settings.same_passes
    assert not read(training_cache="missing").settings.same_passes


def test_an_optimizer_may_bring_its_own_settings(read):
    found = read(optimizer={"name": "adamw", "weight_decay": 0.5, "learning_rate": 2}).settings
    expected = {"learning_rate": 2, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    assert found.optimizer == {"name": "adamw", **expected, "weight_decay": 0.5}


@pytest.mark.parametrize("group", ["schedule", "clipping"])
def test_groups_are_those_of_conf(read, group):
    choices = [choice(group, path.stem) for path in (CONF / group).glob("*.yaml")]
    assert len(choices) >= 4
    for chosen in choices:
        assert getattr(read(**{group: chosen}).settings, group) == chosen


def test_no_optimizer_is_adam_as_in_spleeter(read):
    assert read(optimizer="missing").settings.optimizer["name"] == "adam"


BAD = {
    "unknown optimizer": (
        {"optimizer": "Adm"},
        'config.json: optimizer: found "Adm", expected one of Adadelta, SGD, Adam, Adagrad, '
        "RMSProp, Nesterov, sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam, adamw, "
        "adamax, nadam",
    ),
    "unknown setting of an optimizer": (
        {"optimizer": {"name": "adam", "rho": 0.9}},
        "config.json: optimizer: found the key 'rho', expected one of beta1, beta2, epsilon, "
        "epsilon_before_correction, learning_rate, name",
    ),
    "no rate": (
        {"learning_rate": "missing"},
        "config.json: optimizer.learning_rate: found null, expected a number from 0",
    ),
    "unknown schedule": (
        {"schedule": "linear"},
        'config.json: schedule: found "linear", expected one of constant, step, exponential, '
        "cosine, plateau",
    ),
    "half a schedule": (
        {"schedule": {"name": "step", "factor": 0.5}},
        "config.json: schedule: found no epochs, expected epochs of step",
    ),
    "unknown clipping": (
        {"clipping": {"name": "norms", "max_norm": 1}},
        'config.json: clipping: found "norms", expected one of none, norm, value, adaptive',
    ),
    "not a flag": (
        {"optimizer": {"name": "rmsprop", "epsilon_inside_root": 1}},
        "config.json: optimizer.epsilon_inside_root: found 1, expected true or false",
    ),
    "not a number": (
        {"clipping": {"name": "norm", "max_norm": "5"}},
        'config.json: clipping.max_norm: found "5", expected a number from 0',
    ),
    "unknown key": (
        {"lerning_rate": 1},
        "config.json: found the key 'lerning_rate', expected one of train_csv,*",
    ),
    "missing key": (
        {"train_max_steps": "missing"},
        "config.json: found no key train_max_steps, expected a count",
    ),
    "fractional count": ({"T": 512.0}, "config.json: T: found 512.0, expected a count"),
    "T": ({"T": 100}, "config.json: T: found 100, expected a multiple of 64"),
    "chunks too short": (
        {"chunk_duration": 3},
        "config.json: chunk_duration: found 3, expected at least 11.981 s, to hold T = 512 frames",
    ),
    "mono": ({"n_channels": 1}, "config.json: n_channels: found 1, expected 2"),
    "another network": (
        {"model": {"type": "blstm.blstm", "params": {}}},
        'config.json: model.type: found "blstm.blstm", expected unet.unet or unet.softmax_unet',
    ),
    "filters": (
        {"model": {"type": "unet.unet", "params": {"conv_n_filters": [4, 4]}}},
        "config.json: model.params.conv_n_filters: found 2 numbers, expected 6",
    ),
}


@pytest.mark.parametrize(("changes", "line"), BAD.values(), ids=BAD)
def test_refuses(read, changes, line):
    with pytest.raises(InputError) as caught:
        read(**changes)
    found = str(caught.value)
    assert found == line or (line.endswith("*") and found.startswith(line[:-1]))


def test_refuses_what_is_no_json(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("other.json")
    for text, found in (("{", r"no JSON \(.*\)"), ("[]", "a list")):
        path.write_text(text)
        with pytest.raises(InputError, match=rf"^other\.json: found {found}, expected "):
            configuration.read(path)
    with pytest.raises(InputError, match="found no such file"):
        configuration.read(Path("gone.json"))


def test_a_model_dir_with_anything_else_in_it_is_left_alone(read):
    run = read()
    run.check_model_dir()
    run.model_dir.mkdir()
    (run.model_dir / "checkpoint").touch()
    run.check_model_dir()
    (run.model_dir / "model.ckpt-300.index").touch()  # stock Spleeter's
    with pytest.raises(InputError, match=r"model_dir musdb_model: found model\.ckpt-300\.index"):
        run.check_model_dir()
