"""A corpus of utterances: the index of those that recipes name, and reading one.

A corpus that is large or licensed stays where it lies. Of it, data/speech/corpus holds only the
index, so that DVC sees when it has changed: index.csv, with the path below the corpus's folder and
the size in bytes of every utterance that is used.
"""

import csv
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from metrics.errors import BadFilesError, InputError
from metrics.names import check_names
from stages.audio import inspect
from stages.sphere import is_sphere, read_sphere

INDEX = "index.csv"
SUFFIXES = (".wav", ".wv1", ".sph")  # of an utterance that lists call .wav: the LDC has .wv1


def find(root: Path, names: Iterable[PurePosixPath]) -> dict[PurePosixPath, int]:
    """The files of the utterances that are named, and their sizes in bytes, sorted.

    Raises:
        BadFilesError: some are missing, or have names that no list can hold.
    """
    names = sorted(set(names))
    check_names(root / name for name in names)
    found, missing = {}, []
    for name in names:
        suffixes = dict.fromkeys([name.suffix, *SUFFIXES])
        for path in (name.with_suffix(suffix) for suffix in suffixes):
            if (root / path).is_file():
                found[path] = (root / path).stat().st_size
                break
        else:
            missing.append(InputError(root / name, "no such file", "an utterance of the corpus"))
    if missing:
        raise BadFilesError(missing)
    return found


def write_index(files: dict[PurePosixPath, int], folder: Path) -> None:
    """Writes the index of `files` (path → bytes) into `folder`."""
    with (folder / INDEX).open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("path", "bytes"))
        table.writerows((path, size) for path, size in files.items())


def read_index(path: Path) -> dict[PurePosixPath, int]:
    """Path → bytes of every utterance."""
    with path.open(newline="", encoding="utf-8") as stream:
        return {PurePosixPath(row["path"]): int(row["bytes"]) for row in csv.DictReader(stream)}


def read_utterance(path: Path) -> tuple[np.ndarray, int]:
    """The samples (samples,) of a mono WAV, FLAC or SPHERE file, within ±1, and its rate in Hz.

    Raises:
        InputError: missing, not readable, cut short, without samples, or not mono.
    """
    if not path.is_file():
        raise InputError(path, "no such file", "an utterance of the corpus")
    if is_sphere(path):
        return read_sphere(path)
    info = inspect(path)
    if info.channels != 1:
        raise InputError(path, f"{info.channels} channels", "mono")
    try:
        samples, sample_rate = soundfile.read(path)
    except soundfile.LibsndfileError as error:
        raise InputError(path, error.error_string.rstrip("."), "whole audio") from None
    if len(samples) != info.samples:
        raise InputError(path, f"{len(samples)} samples", f"{info.samples} as its header says")
    return samples, sample_rate
