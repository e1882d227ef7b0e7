"""Scores many items on all cores, and keeps what is scored for the next run.

The result of an item is kept as soon as it is there, in a file whose name is a hash of all that
determines it: the bytes of its files, its settings, and the code with its libraries.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import soundfile

from .cores import cores
from .errors import InputError
from .progress import progress
from .workers import on_all_cores


class Item(NamedTuple):
    """What is scored. Its result depends on these, and on nothing else."""

    files: dict[str, Path]  # by what each stands for
    settings: dict[str, Any]  # what JSON can hold


class Kept(NamedTuple):
    """The result of an item."""

    path: Path  # where it is kept
    new: bool  # whether this run has computed it
    result: Any


def score_all(
    score: Callable[..., Any],
    items: Sequence[Item],
    folder: Path,
    description: str,
    unit: str,
    workers: int | None = None,
) -> list[Kept | InputError]:
    """Returns the result of every item, in their order, or what is wrong with one of its files.

    The results are the same whatever the number of workers. There are never more threads than
    cores.

    Args:
        score: called as `score(files, threads, **settings)`, a function at the top level of a
            module. It returns what JSON can hold. `threads` is how many it may use; their number
            must change no digit.
        items: at least one.
        folder: where results are kept; it is made if it is missing.
        description: the work, for the progress, as `scoring`.
        unit: the singular noun for an item, as `track`.
        workers: the number of processes; None for one per core.

    Raises:
        KilledWorkerError: a worker was killed.
        OSError: a result cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    workers = min(workers or cores(), len(items))
    threads = max(1, cores() // len(items))
    work = partial(_load_or_score, score, threads, _code_digest(), folder)
    with closing(on_all_cores(work, items, workers)) as results:
        return [
            result for _, result in zip(progress(items, description, unit), results, strict=True)
        ]


def forget_others(kept: Sequence[Kept]) -> None:
    """Removes what is kept beside some results: it is of files or settings that have changed.

    Args:
        kept: at least one, all from one folder.
    """
    used = {item.path for item in kept}
    for path in kept[0].path.parent.glob("*.json"):
        if path not in used:
            path.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Writes a file in one step: whoever reads it finds all of it, or what was there before.

    Args:
        path: the file, in a folder that is there.
        text: its content.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None  # and not the temporary name
        raise
    finally:
        new.unlink(missing_ok=True)


def _load_or_score(
    score: Callable[..., Any], threads: int, code_digest: str, folder: Path, item: Item
) -> Kept | InputError:
    """Returns the result of an item, which it computes if it is not kept."""
    try:
        path = folder / f"{_key(code_digest, item)}.json"
        result = read(path)
        if result is not None:
            return Kept(path, False, result)
        text = json.dumps(_score(score, threads, item))
    except InputError as error:
        return error
    write(path, text)
    return Kept(path, True, json.loads(text))  # in the same form as one of an earlier run


def _score(score: Callable[..., Any], threads: int, item: Item) -> Any:
    """Returns the result of an item. An `OSError` is one of reading its files: an `InputError`."""
    try:
        return score(item.files, threads, **item.settings)
    except OSError as error:
        path = error.filename or next(iter(item.files.values()))
        raise _unreadable(os.fsdecode(path), error) from error


def _unreadable(path: object, error: OSError) -> InputError:
    return InputError(path, f"cannot be read ({(error.strerror or str(error)).lower()})")


def _code_digest() -> str:
    """Returns a hash of what determines the results beside the items: this package's code and the
    libraries."""
    libraries = [np.__version__, scipy.__version__, soundfile.__libsndfile_version__]
    digest = hashlib.sha256(repr(libraries).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(code_digest: str, item: Item) -> str:
    """Returns the hash under which the result of an item is kept."""
    hashes = {name: sha256(path) for name, path in item.files.items()}
    text = json.dumps([code_digest, item.settings, hashes])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.hexdigest()


def read(path: Path) -> Any:
    """Returns what a JSON file holds; None if there is no such file or it is cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # a power cut may leave half of it
        return None
