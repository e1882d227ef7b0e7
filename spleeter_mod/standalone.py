"""Training outside the pipeline, by a JSON configuration of Spleeter's."""

import dataclasses
import fcntl
import hashlib
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

from spleeter_mod import training
from spleeter_mod.configuration import Configuration
from spleeter_mod.tracks import SongList


def train(
    run: Configuration, train_list: SongList, valid_list: SongList, scratch: Path, verbose: bool
) -> None:
    """Train, from the last checkpoint of the same run if there is one, and write the model and its
    curves to the configuration's `model_dir`.

    Args:
        run: the configuration.
        train_list: the songs to train on.
        valid_list: the songs to validate on.
        scratch: the folder of everything unfinished.
        verbose: print every step.

    Raises:
        InputError, OSError: as `training.train`.
    """
    folders = (run.training_cache or scratch / "cache", run.validation_cache or scratch / "cache")
    caches = training.cache_places(run.settings, train_list, valid_list, folders)
    folder = scratch / _fingerprint(run.settings, caches)
    folder.mkdir(parents=True, exist_ok=True)
    places = {"model": run.model_dir, "results": run.model_dir}
    work = training.Work(train_list, valid_list, folder, caches, **places)
    if "TF_CONFIG" in os.environ:  # its workers are one run
        _train(run, work, verbose)
        return
    with folder.with_suffix(".lock").open("w") as lock:  # released by the kernel at any death
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for the same training in another process", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        _train(run, work, verbose)
        folder.rmdir()


def _train(run, work, verbose):
    training.train(run.settings, work, verbose)
    print(f"the model is in {run.model_dir}", flush=True)


def _fingerprint(settings, caches):
    """A hash of all that determines a run: configuration, audio, code and libraries."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    content = [
        dataclasses.asdict(settings),
        [place.name for place in caches],
        code.hexdigest(),
        [version(package) for package in ("tensorflow", "spleeter")],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
