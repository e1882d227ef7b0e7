"""Folders in which a stage runs as DVC runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import forked
from tests.conftest import ROOT
from tests.yaml_files import read_yaml, write_yaml


def workspace(root: Path, group: str, choice: str, **values: Any) -> Path:
    """Makes a folder with configuration.yaml and a copy of one group of conf/.

    Args:
        root: the folder; an older configuration.yaml in it is replaced.
        group: `music` or `speech`.
        choice: the choice of the group in configuration.yaml.
        values: settings of the choice that differ.

    Returns:
        The folder.
    """
    params = read_yaml(ROOT / "configuration.yaml")
    source = ROOT / "conf" / group
    params[group] = read_yaml(source / f"{choice}.yaml") | values
    folder = root / "conf" / group
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_yaml(root / "configuration.yaml", params)
    return root


def command(stage: str) -> list[str]:
    """Returns the command that runs a stage."""
    return [sys.executable, "-m", f"stages.{stage}"]


def environment() -> dict[str, str]:
    """Returns the environment in which another process finds the project's code."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run_stage(root: Path, stage: str) -> subprocess.CompletedProcess[str]:
    """Runs a stage in a process of its own and waits for its end."""
    return forked.run(["-m", f"stages.{stage}"], root, environment())


def succeed(root: Path, stage: str) -> None:
    """Runs a stage, which must succeed."""
    done = run_stage(root, stage)
    assert done.returncode == 0, done.stderr


def processes_in(root: Path) -> list[int]:
    """Returns the processes whose working directory is `root`."""
    processes = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == root:
                processes.append(int(process.name))
        except OSError:  # it has ended
            continue
    return processes
