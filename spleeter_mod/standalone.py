"""Training without the pipeline, by Spleeter's JSON configuration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

from contract.files import sources_sha256
from contract.locks import lock
from spleeter_mod import training
from spleeter_mod.configuration import Configuration
from spleeter_mod.settings import Settings
from spleeter_mod.tracks import SongList


def train(
    run: Configuration, train_list: SongList, valid_list: SongList, scratch: Path, verbose: bool
) -> None:
    """Trains, from the last checkpoint of the same run if there is one.

    Writes the model and its records to the `model_dir` of the configuration.

    Args:
        run: the configuration.
        train_list: the songs to train on.
        valid_list: the songs to validate on.
        scratch: the folder of all that is unfinished.
        verbose: whether to print every row of steps.csv.

    Raises:
        InputError: a song was changed meanwhile, or the memory does not suffice.
        OSError: a file cannot be read or written.
    """
    folders = (run.training_cache or scratch / "cache", run.validation_cache or scratch / "cache")
    caches = training.cache_places(run.settings, train_list, valid_list, folders)
    folder = scratch / _fingerprint(run.settings, caches)
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {"model": run.model_dir, "results": run.model_dir}
    places = training.Places(train_list, valid_list, folder, caches, **outputs)
    if "TF_CONFIG" in os.environ:  # several workers share the folder
        _train(run, places, verbose)
        return
    with lock(folder.with_suffix(".lock"), "the same training"):
        folder.mkdir(exist_ok=True)
        _train(run, places, verbose)
        folder.rmdir()


def _train(run: Configuration, places: training.Places, verbose: bool) -> None:
    training.train(run.settings, places, verbose)
    print(f"the model is in {run.model_dir}", flush=True)


def _fingerprint(settings: Settings, caches: tuple[Path, Path]) -> str:
    """Returns a hash of all that determines a run: configuration, audio, code and libraries."""
    package = Path(__file__).parent
    content = [
        dataclasses.asdict(settings),
        [place.name for place in caches],
        sources_sha256(package, package.parent / "contract"),
        [version(package) for package in ("tensorflow", "spleeter")],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
