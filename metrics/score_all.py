"""Scores every item of a test set on all cores, and resumes after an interruption.

The scores of an item are kept in a file as soon as it is scored, under a hash of everything that
determines them: its audio, its settings, and the code with its libraries. The next run takes them
from there. They are removed when the results that were made from them have been written.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import soundfile

import contract.scores
from contract.errors import BadFilesError, InputError
from contract.files import sha256, write_shared
from metrics.audio import require_file
from metrics.core.cores import cores
from metrics.core.progress import progress
from metrics.workers import on_all_cores


class Item(NamedTuple):
    """An item of a test set. Its scores are computed from these, and from nothing else."""

    files: tuple[Path, ...]  # the audio files
    settings: tuple[Any, ...]  # what JSON can hold


class KeptScores:
    """The scores that a run keeps until its results are written.

    Attributes:
        folder: where they are.
        used: the files that this run has written or taken scores from.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.used: set[Path] = set()


@contextmanager
def unfinished(folder: Path) -> Iterator[KeptScores]:
    """Yields the scores that are kept in a folder.

    When the block succeeds, those that it has used are removed. Several processes may share the
    folder.

    Args:
        folder: the folder, which is made if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept_scores = KeptScores(folder)
    yield kept_scores
    for path in kept_scores.used:
        path.unlink(missing_ok=True)


def score_all(
    score: Callable[..., Any],
    items: Sequence[Item],
    kept_scores: KeptScores,
    description: str,
    unit: str,
    workers: int | None = None,
    batch: int = 1,
) -> list[Any]:
    """Returns `score(files, threads, *settings)` of every item, in their order.

    The result is the same whatever the number of workers. There are never more threads than cores.

    Args:
        score: a function at the top level of a module. It returns what JSON can hold, and raises
            `InputError` for a bad file. It must not depend on the names of the files: items of
            equal audio have the same result. `threads` is how many it may use, one unless there are
            more cores than items; their number must change no digit.
        items: what is scored.
        kept_scores: the scores of an earlier run, to which those of this run are added.
        description: the work, for the progress, as `scoring music`.
        unit: the singular noun for an item, as `track`.
        workers: the number of processes; None for one per core.
        batch: how many items a worker gets at once.

    Raises:
        BadFilesError: some items are bad. All others have been scored, and their scores are kept.
    """
    threads = max(1, cores() // len(items))
    workers = min(workers or cores(), len(items))
    work = partial(_load_or_score, score, threads, _code_digest(score), kept_scores.folder)
    all_scores, errors, scored_before = [], [], 0
    with closing(on_all_cores(work, items, workers, batch)) as results:
        for _, result in zip(progress(items, description, unit), results, strict=True):
            if isinstance(result, InputError):
                errors.append(result)
                continue
            kept_scores.used.add(result.path)
            scored_before += not result.new
            all_scores.append(result.scores)
    if scored_before:
        _print(f"{description}: {scored_before} of {len(items)} {unit}s were scored before")
    if errors:
        kept = len(all_scores)
        _print(f"{description}: {kept} of {len(items)} {unit}s are kept for the next run")
        raise BadFilesError(errors)
    return all_scores


class _Result(NamedTuple):
    path: Path  # where the scores are kept
    new: bool  # whether this run has computed them
    scores: Any


def _load_or_score(
    score: Callable[..., Any], threads: int, code_digest: str, folder: Path, item: Item
) -> _Result | InputError:
    """Returns the scores of an item, or what is wrong with one of its files."""
    try:
        path = folder / f"{_key(code_digest, item)}.json"
        scores = _read(path)
        new = scores is None
        if new:
            text = json.dumps(score(item.files, threads, *item.settings))
            write_shared(path, text)
            scores = json.loads(text)  # in the same form as those of an earlier run
    except InputError as error:
        return error
    return _Result(path, new, scores)


def _code_digest(score: Callable[..., Any]) -> str:
    """Returns a hash of what determines the scores beside the item: the code of this package and
    of `contract.scores`, and the libraries."""
    libraries = [np.__version__, scipy.__version__, soundfile.__libsndfile_version__]
    digest = hashlib.sha256(repr([score.__module__, libraries]).encode())
    package = Path(__file__).parent
    code = [*sorted(package.glob("*.py")), *sorted((package / "core").rglob("*.py"))]
    for path in [*code, Path(contract.scores.__file__)]:
        digest.update(sha256(path).encode())
    return digest.hexdigest()


def _key(code_digest: str, item: Item) -> str:
    """Returns the hash under which the scores of an item are kept."""
    digest = hashlib.sha256(json.dumps([code_digest, item.settings]).encode())
    for path in item.files:
        require_file(path)
        digest.update(sha256(path).encode())
    return digest.hexdigest()[:32]


def _read(path: Path) -> Any:
    """Returns the scores in a file; None if there is no such file or it is cut short."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # a power cut may leave half of it
        return None


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
