"""Training without the pipeline: a Hydra application over conf/, as
`python -m svoice.train optimizer=adam`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from contract import layout
from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.files import sha256, sources_sha256, write, write_together
from contract.layout import EPOCHS, PARAMS, STEPS, SVOICE_MODEL, TRAIN, list_file
from contract.yaml_files import read_yaml, yaml_text
from svoice import checkpoint, distributed
from svoice.data import Item, read_list
from svoice.params import Params
from svoice.records import EVENTS, FILES
from svoice.training import SPLITS, Places, Training, configuration, print_line

PACKAGE = Path(__file__).resolve().parent
CONF = PACKAGE.parent / layout.CONF


def run() -> None:
    """Composes the configuration that `sys.argv` describes, and trains by it.

    With --multirun it trains by several configurations, one after the other.

    Raises:
        InputError: the configuration cannot be composed.
    """
    # Otherwise Hydra prints errors by itself, on several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    _refuse_unknown_options()
    application = hydra.main(version_base="1.3", config_path=str(CONF), config_name="train_svoice")
    try:
        application(train)()
    except HydraException as error:
        raise _explained(error) from None


def _refuse_unknown_options() -> None:
    """Refuses unknown options in one line, where Hydra itself would print its whole usage."""
    parser = get_args_parser()
    parser.error = Parser(None).error
    parser.parse_args()


def _explained(error: HydraException) -> InputError:
    """Returns an error of Hydra as one for the user."""
    key = getattr(error.__cause__, "full_key", None)
    if key:
        return InputError(key, "there is no such key", "--help shows the keys")
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return InputError.mismatch(group, repr(choice), f"one of {', '.join(error.options)}")
    return InputError("the command line", _first_line(error), "write group=choice or key=value")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


# SystemExit is the only exception that Hydra passes on without printing it.
@one_line
def train(config: DictConfig) -> None:
    """Trains by a composed configuration, unless that training is completed already.

    Args:
        config: the configuration, with the keys of conf/train_svoice.yaml.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        remedy = "give every key a value"
        raise InputError("the configuration", _first_line(error), remedy) from None
    params = Params.of(values)
    lists, out, start = (_path(values, key) for key in ("lists", "out", "checkpoint"))
    if lists is None:
        raise InputError.mismatch("lists", "null", "the folder of train.csv and valid.csv")
    run_configuration = configuration(params, lists)
    # One process reads all audio for all of them.
    identity = run_configuration | distributed.from_first(partial(_fingerprint, params, lists))
    if out is None:
        out = Path("outputs", "svoice", _name(identity))
    if _is_completed(out, identity):
        print_line(f"{out}: this training is complete; nothing to do")
        return
    places = Places(lists, out / SVOICE_MODEL.name, out, out / "unfinished")
    training = Training(params, places)
    if distributed.is_first():
        if start and not places.checkpoint.exists():
            _copy_checkpoint(start, run_configuration, places)
        write(out / PARAMS, yaml_text(identity))
        print_line(f"training in {out}")
    distributed.wait_for_all()
    training.complete()
    if distributed.is_first():
        places.scratch.rmdir()


def _path(values: dict[str, Any], key: str) -> Path | None:
    """Returns the path under a key of the configuration, which may be null."""
    value = values.get(key)
    if not isinstance(value, str | None):
        raise InputError.mismatch(key, repr(value), "a path")
    return None if value is None else Path(value)


def _fingerprint(params: Params, lists: Path) -> dict[str, Any]:
    """Returns what determines a run besides its configuration: its audio, the code, the libraries.

    Args:
        params: the parameters.
        lists: the folder of train.csv and valid.csv. All audio files in them are read.

    Raises:
        InputError: a list or an audio file is wrong.
        OSError: an audio file cannot be read.
    """
    items = {
        name: read_list(lists / list_file(name), params.speakers, params.sample_rate)
        for name in SPLITS
    }
    return {
        "audio": {name: _audio_sha256(items[name]) for name in SPLITS},
        "code": sources_sha256(PACKAGE, PACKAGE.parent / "contract"),
        "libraries": {name: version(name) for name in ("torch", "numpy")},
    }


def _audio_sha256(items: Sequence[Item]) -> str:
    """Returns a hash of the audio files of a list, in their order."""
    paths = [Path(path) for item in items for path in (item.mixture, *item.sources)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        hashes = "".join(pool.map(sha256, paths))
    return hashlib.sha256(hashes.encode()).hexdigest()


def _name(identity: dict[str, Any]) -> str:
    """Names a training: by the choices that a reader looks for, and by a hash of all the rest."""
    names = [identity[group]["name"] for group in ("optimizer", "schedule", "clipping")]
    text = json.dumps(identity, sort_keys=True)
    return "-".join([*names, hashlib.sha256(text.encode()).hexdigest()[:8]])


def _is_completed(out: Path, identity: dict[str, Any]) -> bool:
    """Returns whether the outputs of a training are in their folder.

    Args:
        out: the folder.
        identity: all that determines the training.

    Raises:
        InputError: the folder belongs to another training.
    """
    path = out / PARAMS
    try:
        present = read_yaml(path)
    except FileNotFoundError:
        return False
    except InputError:
        present = None
    if present != identity:
        raise InputError(path, "belongs to another training", "choose another folder with out=…")
    return (out / TRAIN).exists()


def _copy_checkpoint(path: Path, run_configuration: dict[str, Any], places: Places) -> None:
    """Copies a checkpoint and the records beside it, so that the training resumes from them.

    It may have been saved by another version of the code or of PyTorch, as on another machine.

    Raises:
        InputError: the checkpoint belongs to another configuration, or the records end before it.
    """
    steps, epochs, size = checkpoint.load_checkpoint(path, run_configuration)["records"]
    contents = {name: (path.parent / name).read_bytes() for name in FILES}
    for name, present, needed, unit in (
        (STEPS, contents[STEPS].count(b"\n") - 1, steps, "rows"),
        (EPOCHS, contents[EPOCHS].count(b"\n") - 1, epochs, "rows"),
        (EVENTS, len(contents[EVENTS]), size, "bytes"),
    ):
        if present < needed:
            raise InputError(
                path.parent / name,
                f"has {present} {unit}, but {path} was saved after {needed}",
                "copy the whole folder of the unfinished training",
            )
    # The checkpoint is written last, because a training resumes wherever there is one.
    records = {places.scratch / name: content for name, content in contents.items()}
    write_together({**records, places.checkpoint: path.read_bytes()})
    print_line(f"continuing from {path}")
