"""Spleeter's JSON configuration, as `spleeter train` reads it and the study wrote it.

It may name more optimizers than Spleeter's, and may have two more keys, `schedule` and `clipping`,
as in the groups of conf/ (`{"name": "norm", "max_norm": 5.0}`). Without them, the learning rate is
constant and the gradients are not clipped, as in Spleeter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import menu
from contract.errors import InputError
from contract.layout import RECORDS
from contract.model_settings import FILTERS, UNET_SIZE, check_bins
from contract.ranges import COUNT, POSITIVE, WHOLE
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
STOCK_FILTERS = [16, 32, 64, 128, 256, 512]  # of the convolutions, level by level

_REQUIRED = object()
# For each key, what its value may be, and its value if it is missing, which is that of Spleeter.
_KEYS: dict[str, tuple[str, Any]] = {
    "train_csv": ("a path", _REQUIRED),
    "validation_csv": ("a path", _REQUIRED),
    "model_dir": ("a path", _REQUIRED),
    "training_cache": ("a path", None),
    "validation_cache": ("a path", None),
    "mix_name": ("a name", _REQUIRED),
    "instrument_list": ("a list of names", _REQUIRED),
    "sample_rate": ("a positive whole number", _REQUIRED),
    "frame_length": ("a positive whole number", _REQUIRED),
    "frame_step": ("a positive whole number", _REQUIRED),
    "T": (UNET_SIZE.words, _REQUIRED),
    "F": (UNET_SIZE.words, _REQUIRED),
    "n_channels": ("a positive whole number", _REQUIRED),
    "n_chunks_per_song": ("a positive whole number", 2),
    "chunk_duration": ("a positive number", 20.0),
    "batch_size": ("a positive whole number", 8),
    "random_seed": ("a whole number", 0),
    "train_max_steps": ("a positive whole number", _REQUIRED),
    "save_checkpoints_steps": ("a positive whole number", _REQUIRED),
    "save_summary_steps": ("a positive whole number", 1),
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
_NETWORK_KEYS = ("model_dir", "separation_exponent", "mask_extension", "loss_type", "MWF")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_KINDS: dict[str, Callable[[Any], Any]] = {
    "a path": lambda value: isinstance(value, str) and value,
    "a name": lambda value: isinstance(value, str) and value,
    "a list of names": lambda value: (
        isinstance(value, list) and value and all(isinstance(name, str) for name in value)
    ),
    "a positive whole number": COUNT.holds,
    UNET_SIZE.words: UNET_SIZE.holds,
    "a whole number": WHOLE.holds,
    "a number": _is_number,
    "a positive number": POSITIVE.holds,
    "a name or an object": lambda value: isinstance(value, str | dict),
    "an object": lambda value: isinstance(value, dict),
    "true or false": lambda value: isinstance(value, bool),
}


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
        others = sorted({path.name for path in folder.glob("*")} - {*MODEL_FILES, *RECORDS})
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
    check_bins(values["F"], values["frame_length"], f"{path}: F")
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
    settings.check_chunks(f"{path}: chunk_duration")
    caches = [values[key] and Path(values[key]) for key in ("training_cache", "validation_cache")]
    paths = [Path(values[key]) for key in ("train_csv", "validation_csv", "model_dir")]
    return Configuration(settings, *paths, *caches, tuple(notes))


def _values(path: Path) -> dict[str, Any]:
    """Reads the values of all keys, each of its kind."""
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
    for key, (kind, default) in _KEYS.items():
        values[key] = content.get(key, default)
        if values[key] is _REQUIRED:
            raise InputError(path, f"has no key {key}", f"set it to {kind}")
        if values[key] is not default and not _KINDS[kind](values[key]):
            raise InputError.mismatch(f"{path}: {key}", json.dumps(values[key]), kind)
    return values


def _model(path: Path, model: dict[str, Any]) -> dict[str, Any]:
    """Returns the value of the key `model` with the defaults of Spleeter."""
    unet = model.get("type", UNETS[0])
    if unet not in UNETS:
        raise InputError.mismatch(f"{path}: model.type", json.dumps(unet), " or ".join(UNETS))
    params = {"conv_n_filters": STOCK_FILTERS, **model.get("params", {})}
    FILTERS.check(f"{path}: model.params.conv_n_filters", params["conv_n_filters"])
    return {**model, "type": unet, "params": params}


def _optimizer(path: Path, values: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Returns the optimizer's name in the menu and its settings; adds to `notes`."""
    value = values["optimizer"]
    own_settings = dict(value) if isinstance(value, dict) else {"name": value}
    alias = own_settings.pop("name", None)
    name = ALIASES.get(alias, alias)
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
