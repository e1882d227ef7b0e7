"""Reports edits of composed files by hand, which an experiment overwrites with what conf/ composes.

An experiment leaves its own configuration.yaml and params.yaml in the workspace. So a file is no
edit if some commit or experiment has it, or if it was composed here before.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from contract.errors import InputError
from contract.files import write_shared
from contract.yaml_files import flat, parse_yaml, read_yaml
from stages.settings import named

COMPOSED = Path(".dvc/tmp/composed")  # holds a file for each of the latest configurations
MOST_COMPOSED = 50
MOST_EDITS = 10  # how many edits are reported one by one

_ABSENT = object()  # stands for the value of a key that does not exist

_reported = False  # a sweep composes many configurations in one process


def report_edits(root: Path, composed: Mapping[Path, dict[str, Any]]) -> None:
    """Prints which edits of composed files an experiment overwrites, once in a process.

    Args:
        root: the repository.
        composed: by file, what it holds in the experiment, which is remembered for the next call.
    """
    global _reported
    for file, content in composed.items():
        lines = [] if _reported else _lines(root, file, flat(content))
        folder = COMPOSED / file.stem
        try:
            _remember(root / folder, content)
        except OSError as error:
            problem = f"{folder} cannot be written ({(error.strerror or str(error)).lower()})"
            lines.append(f"{problem}; later experiments may report edits that nobody made")
        if not _reported:
            for line in lines:
                print(f"{file}: {line}", file=sys.stderr)
    _reported = True


def _lines(root: Path, file: Path, composed: dict[str, Any]) -> list[str]:
    path = root / file
    if not path.is_file() or _is_known_to_git(root, file):
        return []
    hint = "experiments are composed from conf/"
    try:
        current = _flat(read_yaml(path))
    except InputError:
        return ["the file is not valid YAML and is overwritten", hint]
    edits = _edits(root, file, current, composed)
    if not edits:
        return []
    lines = [
        f"{key} is {_shown(value)} here, but {_shown(composed.get(key, _ABSENT))} in the experiment"
        for key, value in edits.items()
    ]
    if len(lines) > MOST_EDITS:
        lines = [*lines[:MOST_EDITS], f"and {len(lines) - MOST_EDITS} more"]
    settings = [
        "-S " + shlex.quote(f"{name}={text}")
        for key, value in list(edits.items())[:MOST_EDITS]
        if key in composed and value is not _ABSENT
        for name, text in named(key, _shown(value)).items()
    ]
    remedy = f"use `{' '.join(settings)}` or change conf/" if settings else "change conf/"
    return [*lines, f"{hint}; to keep your edits, {remedy}"]


def _edits(
    root: Path, file: Path, current: dict[str, Any], composed: dict[str, Any]
) -> dict[str, Any]:
    """Returns the edited values that differ from the experiment's.

    Args:
        root: the repository.
        file: the file, relative to `root`.
        current: what it holds, flat.
        composed: what it holds in the experiment, flat.

    Returns:
        The current value of each edited key; `_ABSENT` if the key was removed.
    """
    bases = [flat(configuration) for configuration in _remembered(root / COMPOSED / file.stem)]
    committed = _git(root, "show", f"HEAD:{file}")
    if committed:
        bases.append(_flat(parse_yaml(committed, file)))
    # Which file was edited is not known: most likely the one that differs in the fewest keys.
    differences = [_differing_keys(current, base) for base in bases]
    keys = min(differences, key=len) if differences else set(current)
    return {
        key: current.get(key, _ABSENT)
        for key in sorted(keys)
        if current.get(key, _ABSENT) != composed.get(key, _ABSENT)
    }


def _differing_keys(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    return {
        key
        for key in first.keys() | second.keys()
        if first.get(key, _ABSENT) != second.get(key, _ABSENT)
    }


def _is_known_to_git(root: Path, file: Path) -> bool:
    """Returns whether a named commit, or an experiment's, holds the same version of a file."""
    refs = _git(root, "for-each-ref", "--format=%(refname)").split()
    # In these, Git and DVC put local changes aside, among them the edits.
    refs = [ref for ref in refs if ref not in ("refs/stash", "refs/exps/stash")]
    names = "".join(f"{ref}:{file}\n" for ref in refs)
    blobs = _git(root, "cat-file", "--batch-check=%(objectname)", stdin=names).split()
    return _git(root, "hash-object", str(root / file)).strip() in blobs


def _git(root: Path, *arguments: str, stdin: str = "") -> str:
    """Returns the output of a Git command; an empty text if it fails."""
    process = subprocess.run(
        ["git", "-C", str(root), *arguments], input=stdin, capture_output=True, text=True
    )
    return process.stdout if process.returncode == 0 else ""


def _remember(folder: Path, composed: dict[str, Any]) -> None:
    """Stores a configuration and removes the oldest ones."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(composed, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    write_shared(path, text)
    times = {}
    for file in folder.glob("*.json"):
        with suppress(FileNotFoundError):  # another process has removed it
            times[file] = file.stat().st_mtime
    for file in sorted(times, key=times.__getitem__)[:-MOST_COMPOSED]:
        file.unlink(missing_ok=True)


def _remembered(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the configurations that are stored in a folder."""
    for file in folder.glob("*.json"):
        # Another process may have removed it, and a power cut may have cut it short.
        with suppress(OSError, ValueError):
            yield json.loads(file.read_text())


def _flat(params: Any) -> dict[str, Any]:
    """Returns the values of a file by their dotted keys; an empty file has none."""
    return flat(params) if isinstance(params, dict) else {}


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, default=str)
