"""A corpus of utterances: finding those that recipes name, listing them, and reading one.

A corpus that is large or licensed stays where it lies. data/speech/corpus then holds only its
index, so that DVC sees when it has changed: index.csv lists every utterance that the recipes name,
with its path relative to the corpus's folder and its size in bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from contract.errors import BadFilesError, InputError
from contract.names import check_names
from stages.datasets.audio import ANOTHER_COPY, inspect, require_mono, undecodable
from stages.datasets.sphere import is_sphere, read_sphere

INDEX = "index.csv"
# Suffixes of the files of utterances that lists call .wav; the LDC's are .wv1.
SUFFIXES = (".wav", ".wv1", ".sph")


def find_utterances(root: Path, names: Iterable[PurePosixPath]) -> dict[PurePosixPath, int]:
    """Finds the files of utterances, which may have another suffix than the recipes say.

    Args:
        root: the corpus's folder.
        names: the utterances' paths relative to `root`, as the recipes have them.

    Returns:
        The size in bytes of every file, by its path relative to `root`, sorted.

    Raises:
        BadFilesError: files are missing, or have names that no list can hold.
    """
    names = sorted(set(names))
    check_names(root / name for name in names)
    sizes, missing = {}, []
    for name in names:
        suffixes = dict.fromkeys([name.suffix, *SUFFIXES])
        for path in (name.with_suffix(suffix) for suffix in suffixes):
            if (root / path).is_file():
                sizes[path] = (root / path).stat().st_size
                break
        else:
            missing.append(missing_utterance(root / name))
    if missing:
        raise BadFilesError(missing)
    return sizes


def missing_utterance(path: str | Path) -> InputError:
    """Returns the error of an utterance that recipes name and the corpus lacks.

    Args:
        path: where the utterance should be.
    """
    return InputError(path, "there is no such utterance", "complete the corpus")


def write_index(sizes: Mapping[PurePosixPath, int], folder: Path) -> None:
    """Writes the index of utterances into `folder`.

    Args:
        sizes: the size in bytes of every utterance, by its path relative to the corpus's folder.
        folder: where index.csv is written.
    """
    with (folder / INDEX).open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("path", "bytes"))
        table.writerows(sizes.items())


def read_index(path: Path) -> dict[PurePosixPath, int]:
    """Reads an index: the size in bytes of every utterance, by its path in the corpus.

    Args:
        path: the file index.csv.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        return {PurePosixPath(row["path"]): int(row["bytes"]) for row in csv.DictReader(stream)}


def read_utterance(path: Path) -> tuple[np.ndarray, int]:
    """Reads a mono WAV, FLAC or SPHERE file.

    Args:
        path: the file.

    Returns:
        The samples, (samples,), within ±1; and the sample rate in Hz.

    Raises:
        InputError: the file is missing, not readable, cut short, without samples, or not mono.
    """
    if not path.is_file():
        raise missing_utterance(path)
    if is_sphere(path):
        return read_sphere(path)
    info = inspect(path)
    require_mono(path, info.channels)
    try:
        samples, sample_rate = soundfile.read(path)
    except soundfile.LibsndfileError as error:
        raise undecodable(path, error) from None
    if len(samples) != info.samples:
        problem = f"is cut short: it has {len(samples)} samples and its header says {info.samples}"
        raise InputError(path, problem, ANOTHER_COPY)
    return samples, sample_rate
