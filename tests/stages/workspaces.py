"""Folders in which a stage runs as DVC runs it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.yaml_files import read_yaml, write_yaml


def workspace(root: Path, group: str, choice: str, **values) -> Path:
    """Makes a folder with params.yaml, in which `choice` is chosen and changed by `values`, and a
    copy of conf/`group`."""
    params = read_yaml(ROOT / "params.yaml")
    source = ROOT / "conf" / group
    params[group] = read_yaml(source / f"{choice}.yaml") | values
    folder = root / "conf" / group
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_yaml(root / "params.yaml", params)
    return root


def command(stage: str) -> list[str]:
    return [sys.executable, "-m", f"stages.{stage}"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run_stage(root: Path, stage: str) -> subprocess.CompletedProcess:
    """Runs a stage to its end, in a process of its own."""
    return subprocess.run(
        command(stage), cwd=root, env=environment(), capture_output=True, text=True
    )


def succeed(root: Path, stage: str) -> None:
    done = run_stage(root, stage)
    assert done.returncode == 0, done.stderr


def processes_in(root: Path) -> list[int]:
    """The processes whose working directory is `root`."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == root:
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found
