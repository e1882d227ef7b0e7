"""A cell of a study on a cluster that is killed at a bad moment goes on at its next start.

Slurm, which is not needed for this, would start it as these tests do.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from studies.slurm.folder import Cell, CellFolder, CommitFolder
from tests.pipeline.conftest import Repository, make_repository

REPEAT = 0.005  # seconds between two looks at a lock, which DVC holds for a tenth of a second


@pytest.fixture
def cell(tmp_path) -> CellFolder:
    """The folder of a cell that runs the quickest stage."""
    repository = make_repository(tmp_path / "project")
    head = repository("git", "rev-parse", "HEAD").stdout.strip()
    folder = CommitFolder(tmp_path / "shared", head)
    repository("git", "clone", "-q", str(repository.root), str(folder.code))
    (folder.code / ".venv").symlink_to(Path(sys.prefix).parent)
    cell = folder.cell("quick")
    cell.renew(Cell("quick", ["seed=7"], ["settings"], head, str(repository.root), requeues=5))
    return cell


def start(cell: CellFolder) -> subprocess.Popen[bytes]:
    """Starts a cell as the batch script does."""
    folder = cell.path.parents[1] / "code"
    with cell.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "studies.slurm.cell", str(cell.path)],
            cwd=folder,
            env=Repository(folder).environment,
            stdout=log,
            stderr=log,
        )


def stopped(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Stops a process and all that came of it, so that nothing changes any more."""
    parent = psutil.Process(process.pid)
    found: set[psutil.Process] = set()
    while new := {parent, *parent.children(recursive=True)} - found:
        for each in new:
            each.suspend()
        found |= new
    return list(found)


def kill_at(cell: CellFolder, lock: Path) -> None:
    """Starts a cell, and kills it as a power cut does while it holds a lock."""
    with start(cell) as process:
        while True:
            while not lock.exists():
                assert process.poll() is None, cell.log.read_text()
                time.sleep(REPEAT)
            processes = stopped(process)
            if lock.exists():
                break
            for each in processes:
                each.resume()
        for each in processes:
            each.kill()


def test_locks_of_a_start_that_was_killed_do_not_stop_the_next(cell):
    kill_at(cell, cell.clone / ".dvc" / "tmp" / "lock")
    # Git holds its own too shortly for a test to meet it.
    (cell.clone / ".git" / "index.lock").touch()
    # The process of another node that was writing this file has a number that is taken here.
    writer = {"pid": os.getpid(), "cmd": "dvc exp run"}
    locks = {"write": {str(cell.clone / "configuration.yaml"): writer}, "read": {}}
    (cell.clone / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(locks))
    with start(cell) as process:
        assert process.wait() == 0, cell.log.read_text()
    outcome = cell.outcome()
    assert outcome is not None and outcome.state == "done"
