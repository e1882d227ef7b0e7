"""Which unfinished training belongs to an experiment: the scratch folder of its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.dvc_lock import outputs
from contract.layout import LOCK, PIPELINE, scratch_root
from contract.locks import lock
from contract.yaml_files import read_yaml


@contextmanager
def unfinished_training(model: str) -> Iterator[Path]:
    """Yields the folder of this experiment's unfinished training, for one launcher at a time.

    A training of the same fingerprint resumes from what it finds there.

    Args:
        model: `spleeter` or `svoice`.
    """
    folder = scratch_root() / model / fingerprint(f"train_{model}")
    with lock(folder.with_suffix(".lock"), f"the same training of {model}"):
        folder.mkdir(exist_ok=True)
        yield folder


def fingerprint(stage: str) -> str:
    """Returns a hash of all that determines a run.

    These are the stage's dependencies (settings, data, lists, code, environment), as dvc.yaml names
    them.

    Args:
        stage: a key of `stages` in dvc.yaml.
    """
    definition = read_yaml(PIPELINE)["stages"][stage]
    known_hashes = _hashes_of_output_folders()
    hashes = {path: known_hashes.get(path) or _hash(Path(path)) for path in definition["deps"]}
    text = json.dumps(hashes, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hashes_of_output_folders() -> dict[str, str]:
    """Returns the MD5 of each folder that a stage wrote, by its path.

    These folders may be large, and DVC has already hashed them.
    """
    locked_outputs = outputs(read_yaml(LOCK)) if LOCK.is_file() else []
    return {out["path"]: out["md5"] for out in locked_outputs if Path(out["path"]).is_dir()}


def _hash(path: Path) -> str:
    """Returns the MD5 of a file, or of a folder's files and their names."""
    digest = hashlib.md5()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(path)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
