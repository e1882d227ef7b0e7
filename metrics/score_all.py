"""Scores every item of a test set: on all cores, and gone on with after an interruption.

The scores of an item are kept in a file as soon as it is scored, under a hash of all that
determines them: its audio, its settings, and the code with its libraries. The next run takes them
from there; what was written with them, and only that, removes them.
"""

import hashlib
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import soundfile

from metrics.errors import BadFilesError, InputError
from metrics.progress import progress
from metrics.workers import cores, on_all_cores

BLOCK = 1 << 20  # bytes read at once


class Item(NamedTuple):
    """One result is computed from these, and from nothing else."""

    files: tuple[Path, ...]  # audio
    settings: tuple  # what JSON can hold


class Unfinished:
    """Scores of a run until it is written."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.used: set[Path] = set()


@contextmanager
def unfinished(folder: Path) -> Iterator[Unfinished]:
    """Yields the scores kept in `folder`, and removes those that were used when the block ends
    well. Several processes may share the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = Unfinished(folder)
    yield kept
    for path in kept.used:
        path.unlink(missing_ok=True)


def score_all(
    score: Callable[..., Any],
    items: Sequence[Item],
    kept: Unfinished,
    description: str,
    unit: str,
    workers: int | None = None,
    batch: int = 1,
) -> list:
    """`score(files, threads, *settings)` of every item, in their order, the same whatever the
    number of workers. There are no more threads than cores.

    Args:
        score: a function of a module. It returns what JSON can hold, raises `InputError` for a bad
            file, and needs no names: items of equal audio have the same result. `threads` are those
            that it may use, one unless there are more cores than items; they must change no digit.
        description, unit: for the progress, as `scoring music` and `track`.
        workers, batch: as `on_all_cores` takes them.

    Raises:
        BadFilesError: bad items, after all others were scored and kept.
    """
    threads = max(1, cores() // len(items))
    workers = min(workers or cores(), len(items))
    work = partial(_kept_or_scored, score, threads, _about(score), kept.folder)
    results, errors, before = [], [], 0
    with closing(on_all_cores(work, items, workers, batch)) as found:
        for _, result in zip(progress(items, description, unit), found, strict=True):
            if isinstance(result, InputError):
                errors.append(result)
                continue
            path, new, scores = result
            kept.used.add(path)
            before += not new
            results.append(scores)
    if before:
        _say(f"{description}: {before} of {len(items)} {unit}s were scored before")
    if errors:
        _say(f"{description}: {len(results)} of {len(items)} {unit}s are kept for the next run")
        raise BadFilesError(errors)
    return results


def _kept_or_scored(score, threads: int, about: str, folder: Path, item: Item):
    """Where the scores are kept, whether they are new, and the scores; or what is wrong with a
    file."""
    try:
        path = folder / f"{_key(about, item)}.json"
        scores = _read(path)
        if new := scores is None:
            text = json.dumps(score(item.files, threads, *item.settings))
            _write(path, text)
            scores = json.loads(text)  # in the same form as those from before
    except InputError as error:
        return error
    return path, new, scores


def _about(score: Callable) -> str:
    """What determines the scores beside the item: the code of this package and its libraries."""
    libraries = [np.__version__, scipy.__version__, soundfile.__libsndfile_version__]
    digest = hashlib.sha256(repr([score.__module__, libraries]).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _key(about: str, item: Item) -> str:
    digest = hashlib.sha256(json.dumps([about, item.settings]).encode())
    for path in item.files:
        digest.update(_content(path))
    return digest.hexdigest()[:32]


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(path, "no such file", "audio")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.digest()


def _read(path: Path):
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # a power cut may leave half of it
        return None


def _write(path: Path, text: str) -> None:
    # Another process may score the same, on another machine with the same number as this one.
    own = path.with_suffix(f".{secrets.token_hex(8)}")
    own.write_text(text)
    own.replace(path)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
