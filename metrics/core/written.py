"""Writes the scores of a run in place of those of an earlier one, and removes nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .errors import InputError
from .kept import read, sha256, write

SCORES = "scores.csv"
MUSEVAL = "museval"  # what `museval.EvalStore.add_eval_dir` reads
MANIFEST = ".written"  # in that folder: by the path of each file in it, its SHA-256


def not_ours(out: Path) -> InputError | None:
    """Returns what in museval's folder this command did not write; None if there is nothing.

    Args:
        out: the folder of the scores.
    """
    folder = out / MUSEVAL
    if not folder.is_dir():
        return None
    hashes = read(folder / MANIFEST) or {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == MANIFEST or (path.is_dir() and not path.is_symlink()):
            continue
        if name not in hashes or hashes[name] != sha256(path):
            problem = f"holds {name}, which this command did not write"
            return InputError(folder, problem, "move it away, or name another folder as --out")
    return None


def write_scores(out: Path, table: str, frames: dict[str, str]) -> None:
    """Writes the scores of a run in place of those of an earlier one.

    Args:
        out: their folder.
        table: the text of scores.csv.
        frames: the texts of museval's files by their paths; empty if there are none.

    Raises:
        OSError: a file cannot be written.
    """
    # scores.csv is written last, so that all else is there when it is.
    (out / SCORES).unlink(missing_ok=True)
    if frames:
        _replace_folder(out / MUSEVAL, frames)
    write(out / SCORES, table)


def _replace_folder(folder: Path, texts: dict[str, str]) -> None:
    """Writes a folder of files, with their manifest, in place of an earlier one.

    Args:
        folder: the folder.
        texts: the contents of the files, by their paths in it.
    """
    new = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(new, ignore_errors=True)
    for name, text in texts.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text(text, encoding="utf-8")
    hashes = {name: sha256(new / name) for name in texts}
    (new / MANIFEST).write_text(json.dumps(hashes, indent=2), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    new.rename(folder)
