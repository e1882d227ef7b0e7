"""Spleeter's JSON configuration, as `spleeter train` reads it and the study wrote it.

It may name more optimizers than Spleeter's, and may have two more keys, `schedule` and `clipping`,
as in the groups of conf/ (`{"name": "norm", "max_norm": 5.0}`). Without them, the learning rate is
constant and the gradients are not clipped, as in Spleeter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import menu
from contract.errors import InputError
from contract.layout import RECORDS, TENSORBOARD
from contract.model_settings import FILTERS, UNET_SIZE, check_chunk_seconds, check_stft
from contract.ranges import COUNT, FLAG, POSITIVE, WHOLE, Range, one_of
from contract.sources import CHANNELS
from spleeter_mod.settings import MODEL_FILES, Settings

# The names of the optimizers in Spleeter and the study, and in the menu.
ALIASES = {
    "Adadelta": "adadelta",
    "SGD": "sgd",
    "Adam": "adam",
    "Adagrad": "adagrad",
    "RMSProp": "rmsprop",
    "Nesterov": "nesterov",
}
ADADELTA_RATE = 0.001  # the default of TensorFlow, to which Spleeter leaves the rate of Adadelta
UNETS = ("unet.unet", "unet.softmax_unet")
# The filters of stock Spleeter's convolutions, level by level.
STOCK_FILTERS = [16, 32, 64, 128, 256, 512]


@dataclass(frozen=True)
class _Kind:
    """The values of a type in JSON.

    Attributes:
        words: what they are, for errors.
        types: their types in Python.
    """

    words: str
    types: tuple[type, ...]

    def check(self, key: str, value: Any) -> None:
        """Raises an `InputError` about a value of another type."""
        if not isinstance(value, self.types):
            raise InputError.mismatch(key, repr(value), self.words)


_PATH, _NAME = Range(str, "a path"), Range(str, "a name")
_NAME_OR_OBJECT = _Kind("a name or an object", (str, dict))
_OBJECT = _Kind("an object", (dict,))
_REQUIRED = object()
# For each key, what its value may be, and its value if it is missing, which is that of Spleeter.
_KEYS: dict[str, tuple[Range | _Kind, Any]] = {
    "train_csv": (_PATH, _REQUIRED),
    "validation_csv": (_PATH, _REQUIRED),
    "model_dir": (_PATH, _REQUIRED),
    "training_cache": (_PATH, None),
    "validation_cache": (_PATH, None),
    "mix_name": (_NAME, _REQUIRED),
    "instrument_list": (_Kind("a list of names", (list,)), _REQUIRED),
    "sample_rate": (COUNT, _REQUIRED),
    "frame_length": (COUNT, _REQUIRED),
    "frame_step": (COUNT, _REQUIRED),
    "T": (UNET_SIZE, _REQUIRED),
    "F": (UNET_SIZE, _REQUIRED),
    "n_channels": (COUNT, _REQUIRED),
    "n_chunks_per_song": (COUNT, 2),
    "chunk_duration": (POSITIVE, 20.0),
    "batch_size": (COUNT, 8),
    "random_seed": (WHOLE, 0),
    "train_max_steps": (COUNT, _REQUIRED),
    "save_checkpoints_steps": (COUNT, _REQUIRED),
    "save_summary_steps": (COUNT, 1),
    "throttle_secs": (Range(float, "a number"), None),
    "learning_rate": (POSITIVE, None),
    "optimizer": (_NAME_OR_OBJECT, "Adam"),
    "schedule": (_NAME_OR_OBJECT, "constant"),
    "clipping": (_NAME_OR_OBJECT, "none"),
    "separation_exponent": (POSITIVE, 2),
    "mask_extension": (one_of("zeros", "average"), "zeros"),
    "model": (_OBJECT, {}),
    # Spleeter's weighted_L1_mask cannot run: it passes an argument that only TensorFlow 1 has.
    "loss_type": (one_of("L1_mask"), None),
    "MWF": (FLAG, None),
}
_NETWORK_KEYS = ("model_dir", "separation_exponent", "mask_extension", "loss_type", "MWF")


@dataclass(frozen=True)
class Configuration:
    """A JSON file. Its paths are relative to the working directory, as in Spleeter.

    Attributes:
        settings: the run.
        train_csv: the list of the songs to train on.
        validation_csv: the list of the songs to validate on.
        model_dir: the folder for the model.
        training_cache: the folder for the cache of the songs to train on, if there is one.
        validation_cache: the folder for the cache of the songs to validate on, if there is one.
        notes: lines about what the user may not expect.
    """

    settings: Settings
    train_csv: Path
    validation_csv: Path
    model_dir: Path
    training_cache: Path | None
    validation_cache: Path | None
    notes: tuple[str, ...]

    def check_model_dir(self) -> None:
        """Checks that the folder for the model, which will be replaced, has nothing else in it.

        Raises:
            InputError: it is a file, or has a file in it that this package does not write.
        """
        folder = self.model_dir
        if folder.exists() and not folder.is_dir():
            raise InputError(f"model_dir {folder}", "is a file", "name a folder for the model")
        own = {*MODEL_FILES, *RECORDS, TENSORBOARD}
        others = sorted({path.name for path in folder.glob("*")} - own)
        if others:
            problem = f"holds {others[0]}, which spleeter_mod has not written"
            raise InputError(f"model_dir {folder}", problem, "name an empty folder, or a new one")


def read(path: Path) -> Configuration:
    """Reads and checks a configuration.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file, it is not a JSON file, a key is missing or unknown, or a
            value is wrong.
    """
    values = _values(path)
    model = _model(path, values["model"])
    if values["n_channels"] != CHANNELS:
        raise InputError.mismatch(f"{path}: n_channels", values["n_channels"], CHANNELS)
    check_stft(values["F"], values["frame_length"], values["frame_step"], f"{path}: ")
    notes: list[str] = []
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
        schedule=_group(path, "schedule", values["schedule"], warmup_steps=0),
        clipping=_group(path, "clipping", values["clipping"]),
        mix_name=values["mix_name"],
        stems=tuple(values["instrument_list"]),
        same_passes=values["training_cache"] is not None,
        network={**network, "model": model},
    )
    key = f"{path}: chunk_duration"
    check_chunk_seconds(settings.chunk_seconds, settings.least_seconds, settings.T, key)
    caches = [values[key] and Path(values[key]) for key in ("training_cache", "validation_cache")]
    paths = [Path(values[key]) for key in ("train_csv", "validation_csv", "model_dir")]
    return Configuration(settings, *paths, *caches, tuple(notes))


def _values(path: Path) -> dict[str, Any]:
    """Reads the values of all keys, as they are in the file, and checks each by itself."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "name Spleeter's configuration") from None
    except ValueError as error:
        raise InputError(path, f"is not a JSON file ({error})", "correct it") from None
    if not isinstance(content, dict):
        raise InputError(path, "is not a JSON object", "write the keys of Spleeter's configuration")
    for key in content:
        if key not in _KEYS:
            raise InputError(
                path, f"has the unknown key {key!r}", f"the keys are: {', '.join(_KEYS)}"
            )
    values = {}
    for key, (value_range, default) in _KEYS.items():
        values[key] = content.get(key, default)
        if values[key] is _REQUIRED:
            raise InputError(path, f"has no key {key}", f"set it to {value_range.words}")
        if values[key] is not default:
            value_range.check(f"{path}: {key}", values[key])
    _check_stems(path, values["mix_name"], values["instrument_list"])
    return values


def _check_stems(path: Path, mix_name: str, stems: list[Any]) -> None:
    """Checks that the stems have names, by which they differ from each other and the mixture."""
    if not stems:
        raise InputError.mismatch(f"{path}: instrument_list", stems, "at least one name")
    for number, stem in enumerate(stems):
        _NAME.check(f"{path}: instrument_list[{number}]", stem)
        if stem in (mix_name, *stems[:number]):
            expected = "a name that neither the mixture nor another stem has"
            raise InputError.mismatch(f"{path}: instrument_list[{number}]", repr(stem), expected)


def _model(path: Path, model: dict[str, Any]) -> dict[str, Any]:
    """Returns the value of the key `model` with the defaults of Spleeter."""
    unet = model.get("type", UNETS[0])
    if unet not in UNETS:
        raise InputError.mismatch(f"{path}: model.type", json.dumps(unet), " or ".join(UNETS))
    params = model.get("params", {})
    _OBJECT.check(f"{path}: model.params", params)
    params = {"conv_n_filters": STOCK_FILTERS, **params}
    FILTERS.check(f"{path}: model.params.conv_n_filters", params["conv_n_filters"])
    return {**model, "type": unet, "params": params}


def _optimizer(path: Path, values: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Returns the optimizer's name in the menu and its settings; adds to `notes`."""
    value = values["optimizer"]
    own_settings = dict(value) if isinstance(value, dict) else {"name": value}
    alias = own_settings.pop("name", None)
    name = ALIASES.get(alias, alias) if isinstance(alias, str) else None
    if name not in menu.OPTIMIZERS:
        where, known = f"{path}: optimizer", ", ".join((*ALIASES, *menu.OPTIMIZERS))
        raise InputError.mismatch(where, json.dumps(alias), f"one of {known}")
    rate = values["learning_rate"]
    if alias == "Adadelta" and "learning_rate" not in own_settings:
        if rate is not None:
            notes.append(
                f"learning_rate {rate} is not used: Spleeter leaves Adadelta at TensorFlow's "
                f"{ADADELTA_RATE} (an optimizer named adadelta takes it)"
            )
        rate = ADADELTA_RATE
    defaults = {
        setting.name: setting.spleeter_default
        for setting in menu.OPTIMIZERS[name].settings
        if setting.spleeter_default is not None
    }
    settings = {**defaults, "learning_rate": rate, **own_settings}
    where = f"{path}: optimizer"
    return {"name": name, **menu.check_optimizer(name, settings, menu.SPLEETER, where)}


def _group(path: Path, group: str, value: Any, **defaults: Any) -> dict[str, Any]:
    """Returns a schedule or a clipping, which is a name, or an object of a name and settings."""
    values = dict(value) if isinstance(value, dict) else {"name": value}
    return menu.check_choice(group, {**defaults, **values}, f"{path}: {group}")
