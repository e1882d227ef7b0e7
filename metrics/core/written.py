"""Writes the scores of a run in place of those of an earlier one, and removes nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from .errors import InputError
from .kept import read, sha256

SCORES = "scores.csv"
MUSEVAL = "museval"  # what `museval.EvalStore.add_eval_dir` reads
MANIFEST = ".written"  # in that folder: by the path of each file in it, its SHA-256
NEW = ".scores.tmp"  # where all is written before it replaces anything


def not_ours(out: Path) -> InputError | None:
    """Returns why museval's folder may not be replaced; None if this command wrote all of it.

    Args:
        out: the folder of the scores.
    """
    folder = out / MUSEVAL
    remedy = "move it away, or name another folder as --out"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        problem = "is a link" if folder.is_symlink() else "is a file"
        return InputError(folder, f"{problem}, but the scores need a folder there", remedy)
    hashes = (read(folder / MANIFEST) if folder.is_dir() else None) or {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == MANIFEST or (path.is_dir() and not path.is_symlink()):
            continue
        if name not in hashes or hashes[name] != sha256(path):
            return InputError(folder, f"holds {name}, which this command did not write", remedy)
    return None


def write_scores(out: Path, table: str, frames: dict[str, str]) -> None:
    """Writes the scores of a run in place of those of an earlier one.

    All is written beside them first: if that fails, they stay as they are. scores.csv is the first
    to go and the last to come, so that it never stands beside the frames of another run.

    Args:
        out: their folder.
        table: the text of scores.csv.
        frames: the texts of museval's files by their paths; empty if there are none.

    Raises:
        InputError: there are frames, and something in museval's folder is not this command's.
        OSError: a file cannot be written.
    """
    new = out / NEW
    shutil.rmtree(new, ignore_errors=True)  # of a run that was killed
    try:
        _write_all(new, table, frames)
        foreign = not_ours(out)
        if frames and foreign:
            raise foreign
        (out / SCORES).unlink(missing_ok=True)
        if not foreign and (out / MUSEVAL).exists():
            (out / MUSEVAL).rename(new / "earlier")
        if frames:
            (new / MUSEVAL).rename(out / MUSEVAL)
        (new / SCORES).rename(out / SCORES)
    except OSError as error:
        # It names the file that was to be, and not the temporary one.
        error.filename = os.fsdecode(error.filename or out).replace(f"{os.sep}{NEW}", "")
        error.filename2 = None
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write_all(folder: Path, table: str, frames: dict[str, str]) -> None:
    """Writes scores.csv and museval's files, with their manifest, into a folder that it makes."""
    texts = {f"{MUSEVAL}/{name}": text for name, text in frames.items()} | {SCORES: table}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    if frames:
        hashes = {name: sha256(folder / MUSEVAL / name) for name in frames}
        (folder / MUSEVAL / MANIFEST).write_text(json.dumps(hashes, indent=2), encoding="utf-8")
