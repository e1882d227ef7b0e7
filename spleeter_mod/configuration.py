"""Spleeter's JSON configuration, as `spleeter train` reads it and the study wrote it.

It may name more optimizers, and has two keys more, `schedule` and `clipping`, as in the groups of
conf/ (`{"name": "norm", "max_norm": 5.0}`). Where they are missing there is none, as in Spleeter.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from spleeter_mod.errors import InputError
from spleeter_mod.settings import (
    CHANNELS,
    CLIPPINGS,
    LOGS,
    MODEL_FILES,
    OPTIMIZERS,
    SCHEDULES,
    Settings,
)

# What Spleeter and the study call the optimizers.
ALIASES = {
    "Adadelta": "adadelta",
    "SGD": "sgd",
    "Adam": "adam",
    "Adagrad": "adagrad",
    "RMSProp": "rmsprop",
    "Nesterov": "nesterov",
}
# Spleeter and the study left an optimizer's own settings and its formula to TensorFlow 1. Where
# that has no such optimizer, they are PyTorch's.
HYPERPARAMETERS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "adagrad": {"initial_accumulator_value": 0.1, "epsilon": 0.0},
    "adadelta": {"rho": 0.95, "epsilon": 1e-8},
    "rmsprop": {
        "alpha": 0.9,
        "momentum": 0.0,
        "epsilon": 1e-10,
        "initial_mean_square": 1.0,
        "epsilon_inside_root": True,
    },
    "adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "epsilon_before_correction": True},
    "adamw": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 1e-2},
    "adamax": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "nadam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "momentum_decay": 4e-3},
}
FLAGS = ("epsilon_inside_root", "epsilon_before_correction")
ADADELTA_RATE = 0.001  # Spleeter does not hand Adadelta the configured rate; TensorFlow's default
SCHEDULE_KEYS = {
    "constant": (),
    "step": ("epochs", "factor"),
    "exponential": ("factor",),
    "cosine": ("floor",),
    "plateau": ("patience", "factor"),
}
CLIPPING_KEYS = {
    "none": (),
    "norm": ("max_norm",),
    "value": ("max_value",),
    "adaptive": ("factor", "epsilon"),
}
UNETS = ("unet.unet", "unet.softmax_unet")
FILTERS = [16, 32, 64, 128, 256, 512]  # Spleeter's own

_REQUIRED = object()
# Key → what it is, and what it is when it is missing (Spleeter's own defaults).
_KEYS = {
    "train_csv": ("a path", _REQUIRED),
    "validation_csv": ("a path", _REQUIRED),
    "model_dir": ("a path", _REQUIRED),
    "training_cache": ("a path", None),
    "validation_cache": ("a path", None),
    "mix_name": ("a name", _REQUIRED),
    "instrument_list": ("a list of names", _REQUIRED),
    "sample_rate": ("a count", _REQUIRED),
    "frame_length": ("a count", _REQUIRED),
    "frame_step": ("a count", _REQUIRED),
    "T": ("a count", _REQUIRED),
    "F": ("a count", _REQUIRED),
    "n_channels": ("a count", _REQUIRED),
    "n_chunks_per_song": ("a count", 2),
    "chunk_duration": ("a positive number", 20.0),
    "batch_size": ("a count", 8),
    "random_seed": ("a whole number", 0),
    "train_max_steps": ("a count", _REQUIRED),
    "save_checkpoints_steps": ("a count", _REQUIRED),
    "save_summary_steps": ("a count", 1),
    "throttle_secs": ("a number", None),
    "learning_rate": ("a positive number", None),
    "optimizer": ("a name or an object", "Adam"),
    "schedule": ("a name or an object", "constant"),
    "clipping": ("a name or an object", "none"),
    "separation_exponent": ("a number", 2),
    "mask_extension": ("a name", "zeros"),
    "model": ("an object", {}),
    "loss_type": ("a name", None),
    "MWF": ("true or false", None),
}
_SPLEETERS_NAMES = {"chunk_seconds": "chunk_duration", "filters": "model.params.conv_n_filters"}
_NETWORK_KEYS = ("model_dir", "separation_exponent", "mask_extension", "loss_type", "MWF")


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


MOST = 2**31 - 1  # what every library takes as a number, a seed, or a size
_KINDS = {
    "a path": lambda value: isinstance(value, str) and value,
    "a name": lambda value: isinstance(value, str) and value,
    "a list of names": lambda value: (
        isinstance(value, list) and value and all(isinstance(name, str) for name in value)
    ),
    "a count": lambda value: type(value) is int and 0 < value <= MOST,
    "a whole number": lambda value: type(value) is int and 0 <= value <= MOST,
    "a number": _is_number,
    "a positive number": lambda value: _is_number(value) and value > 0,
    "a name or an object": lambda value: isinstance(value, str | dict),
    "an object": lambda value: isinstance(value, dict),
    "true or false": lambda value: isinstance(value, bool),
}


@dataclass(frozen=True)
class Configuration:
    """A JSON file. Its paths are relative to the working directory, as in Spleeter."""

    settings: Settings
    train_csv: Path
    validation_csv: Path
    model_dir: Path
    training_cache: Path | None
    validation_cache: Path | None
    notes: tuple[str, ...]  # what the user may not expect

    def check_model_dir(self) -> None:
        """It will be replaced as a whole.

        Raises:
            InputError: it is a file, or holds what no training of ours has written.
        """
        folder = self.model_dir
        if folder.exists() and not folder.is_dir():
            raise InputError(f"model_dir {folder}", "a file", "a folder for the model")
        others = sorted({path.name for path in folder.glob("*")} - {*MODEL_FILES, *LOGS})
        if others:
            expected = "an empty folder, or a model that spleeter_mod has trained"
            raise InputError(f"model_dir {folder}", others[0], expected)


def read(path: Path) -> Configuration:
    """Read and check a configuration.

    Raises:
        InputError: no such file, no JSON, a key that is missing or unknown, a bad value.
    """
    values = _values(path)
    model = _model(path, values["model"])
    if values["n_channels"] != CHANNELS:
        raise InputError(f"{path}: n_channels", values["n_channels"], CHANNELS)
    notes = []
    optimizer = _optimizer(path, values, notes)
    if values["throttle_secs"]:
        notes.append(
            f"throttle_secs is not used: validations come every {values['save_checkpoints_steps']} "
            "steps (save_checkpoints_steps), so that a run can be repeated"
        )
    network = {key: values[key] for key in _NETWORK_KEYS if values[key] is not None}
    settings = Settings(
        seed=values["random_seed"],
        sample_rate=values["sample_rate"],
        T=values["T"],
        F=values["F"],
        frame_length=values["frame_length"],
        frame_step=values["frame_step"],
        filters=model["params"]["conv_n_filters"],
        batch_size=values["batch_size"],
        chunk_seconds=values["chunk_duration"],
        chunks_per_song=values["n_chunks_per_song"],
        steps=values["train_max_steps"],
        validate_every=values["save_checkpoints_steps"],
        log_every=values["save_summary_steps"],
        optimizer=optimizer,
        schedule={
            "warmup_steps": 0,
            **_group(
                path, "schedule", values["schedule"], SCHEDULES, SCHEDULE_KEYS, "warmup_steps"
            ),
        },
        clipping=_group(path, "clipping", values["clipping"], CLIPPINGS, CLIPPING_KEYS),
        mix_name=values["mix_name"],
        stems=tuple(values["instrument_list"]),
        same_passes=values["training_cache"] is not None,
        network={**network, "model": model},
    )
    settings.check(lambda key: f"{path}: {_SPLEETERS_NAMES.get(key, key)}")
    caches = [values[key] and Path(values[key]) for key in ("training_cache", "validation_cache")]
    paths = [Path(values[key]) for key in ("train_csv", "validation_csv", "model_dir")]
    return Configuration(settings, *paths, *caches, tuple(notes))


def _values(path):
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "no such file", "Spleeter's configuration") from None
    except ValueError as error:
        raise InputError(path, f"no JSON ({error})", "Spleeter's configuration") from None
    if not isinstance(given, dict):
        raise InputError(path, f"a {type(given).__name__}", "an object of Spleeter's keys")
    for key in given:
        if key not in _KEYS:
            raise InputError(path, f"the key {key!r}", f"one of {', '.join(_KEYS)}")
    values = {}
    for key, (kind, default) in _KEYS.items():
        values[key] = given.get(key, default)
        if values[key] is _REQUIRED:
            raise InputError(path, f"no key {key}", kind)
        if values[key] is not default and not _KINDS[kind](values[key]):
            raise InputError(f"{path}: {key}", json.dumps(values[key]), kind)
    return values


def _model(path, given):
    kind = given.get("type", UNETS[0])
    if kind not in UNETS:
        raise InputError(f"{path}: model.type", json.dumps(kind), " or ".join(UNETS))
    params = {"conv_n_filters": FILTERS, **given.get("params", {})}
    filters = params["conv_n_filters"]
    if not isinstance(filters, list) or not all(map(_KINDS["a count"], filters)):
        where = f"{path}: model.params.conv_n_filters"
        raise InputError(where, json.dumps(filters), "a list of counts")
    return {**given, "type": kind, "params": params}


def _optimizer(path, values, notes):
    given = values["optimizer"]
    given = dict(given) if isinstance(given, dict) else {"name": given}
    called = given.get("name")
    name = ALIASES.get(called, called)
    if name not in OPTIMIZERS:
        where, known = f"{path}: optimizer", ", ".join((*ALIASES, *OPTIMIZERS))
        raise InputError(where, json.dumps(called), f"one of {known}")
    rate = values["learning_rate"]
    if called == "Adadelta" and "learning_rate" not in given:
        if rate is not None:
            notes.append(
                f"learning_rate {rate} is not used: Spleeter leaves Adadelta at TensorFlow's "
                f"{ADADELTA_RATE} (an optimizer named adadelta takes it)"
            )
        rate = ADADELTA_RATE
    optimizer = {"learning_rate": rate, **HYPERPARAMETERS[name], **given, "name": name}
    expected = {"name", "learning_rate", *HYPERPARAMETERS[name]}
    _check_settings(path, "optimizer", optimizer, expected)
    return optimizer


def _group(path, group, given, names, keys, *optional):
    given = dict(given) if isinstance(given, dict) else {"name": given}
    name = given.get("name")
    if name not in names:
        raise InputError(f"{path}: {group}", json.dumps(name), f"one of {', '.join(names)}")
    for key in keys[name]:
        if key not in given:
            raise InputError(f"{path}: {group}", f"no {key}", f"{key} of {name}")
    _check_settings(path, group, given, {"name", *keys[name], *optional})
    return given


def _check_settings(path, group, values, expected):
    for key, value in values.items():
        if key not in expected:
            known = ", ".join(sorted(expected))
            raise InputError(f"{path}: {group}", f"the key {key!r}", f"one of {known}")
        if key in FLAGS:
            if not isinstance(value, bool):
                raise InputError(f"{path}: {group}.{key}", json.dumps(value), "true or false")
        elif key != "name" and not (_is_number(value) and value >= 0):
            raise InputError(f"{path}: {group}.{key}", json.dumps(value), "a number from 0")
