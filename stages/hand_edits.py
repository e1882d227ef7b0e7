"""Tells of edits of params.yaml by hand: every experiment overwrites them with what conf/ composes.

A file that some commit or experiment has, or that was composed here before, is no such edit: an
experiment leaves its own params.yaml in the workspace.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.serialize import load_yaml, parse_yaml

PARAMS = "params.yaml"
COMPOSED = Path(".dvc/tmp/composed")  # a file for each params.yaml that was composed lately
KEPT = 50
SHOWN = 10
NOTHING = object()


def tell(root: Path, composed: dict) -> None:
    """Prints what params.yaml of a repository has by hand and an experiment will not have, once in
    a process, and remembers what is composed."""
    if not _told:
        for line in _lines(root, _flat(composed)):
            print(f"{PARAMS}: {line}", file=sys.stderr)
    _told.append(True)
    _remember(root / COMPOSED, composed)


_told: list[bool] = []  # a sweep composes many


def _lines(root: Path, composed: dict[str, Any]) -> list[str]:
    edited = _edited(root, composed)
    if not edited:
        return []
    lines = [
        f"{key} is {_shown(by_hand)} by hand, "
        f"{_shown(composed.get(key, NOTHING))} in the experiment"
        for key, by_hand in edited.items()
    ]
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"]
    kept = [
        "-S " + shlex.quote(f"{key.removesuffix('.name')}={_shown(by_hand)}")
        for key, by_hand in list(edited.items())[:SHOWN]
        if key in composed and by_hand is not NOTHING
    ]
    how = " or ".join([*([f"`{' '.join(kept)}`"] if kept else []), "a change in conf/"])
    return [*lines, f"experiments are composed from conf/; {how} keeps what was edited"]


def _edited(root: Path, composed: dict[str, Any]) -> dict[str, Any]:
    """By key, what was edited by hand and is not what the experiment has."""
    path = root / PARAMS
    if not path.is_file() or _in_git(root, path):
        return {}
    try:
        there = _flat(load_yaml(str(path)))
    except DvcException:
        return {"the file": "no YAML"}
    known = [json.loads(file.read_text()) for file in (root / COMPOSED).glob("*.json")]
    committed = _git(root, "show", f"HEAD:{PARAMS}")
    bases = [_flat(params) for params in known]
    if committed:
        bases.append(_flat(parse_yaml(committed, PARAMS)))
    # Of what it may have been before, it is an edit of what it differs from the least.
    edits = [_differing(there, base) for base in bases]
    keys = min(edits, key=len) if edits else set(there)
    return {
        key: there.get(key, NOTHING)
        for key in sorted(keys)
        if there.get(key, NOTHING) != composed.get(key, NOTHING)
    }


def _differing(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    return {
        key
        for key in first.keys() | second.keys()
        if first.get(key, NOTHING) != second.get(key, NOTHING)
    }


def _in_git(root: Path, path: Path) -> bool:
    """Whether a commit that has a name or that is an experiment's has this file."""
    refs = _git(root, "for-each-ref", "--format=%(refname)").split()
    # There, git and DVC put local changes aside: the edits themselves.
    refs = [ref for ref in refs if ref not in ("refs/stash", "refs/exps/stash")]
    asked = "".join(f"{ref}:{PARAMS}\n" for ref in refs)
    blobs = _git(root, "cat-file", "--batch-check=%(objectname)", given=asked).split()
    return _git(root, "hash-object", str(path)).strip() in blobs


def _git(root: Path, *arguments: str, given: str = "") -> str:
    """→ its output; empty where it fails"""
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], input=given, capture_output=True, text=True
    )
    return done.stdout if done.returncode == 0 else ""


def _remember(folder: Path, composed: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(composed, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)
    by_age = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    for file in by_age[:-KEPT]:
        file.unlink(missing_ok=True)


def _flat(params: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(params, dict) or not params:
        return {prefix.removesuffix("."): params}
    parts = (_flat(value, f"{prefix}{key}.") for key, value in params.items())
    return {key: value for part in parts for key, value in part.items()}


def _shown(value: Any) -> str:
    if value is NOTHING:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, default=str)
