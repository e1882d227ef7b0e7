"""A clone on a node, in which DVC runs stages with the cache that all cells share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from contract.errors import InputError
from contract.files import remove, write
from studies.slurm.folder import CommitFolder

# What DVC has to be told in each clone: the cache lies on a file system that several nodes share,
# where its locks are files and not the kernel's, and where links take no room. It is written here
# because DVC's own command would take a second for each line.
SETTINGS = """\
[core]
    hardlink_lock = true
    check_update = false
[cache]
    dir = "{cache}"
    type = reflink,hardlink,copy
    shared = group
"""


def clone(repository: Path, commit: str, workspace: Path, folder: CommitFolder) -> None:
    """Makes a workspace of a commit, or puts the files of an earlier one back.

    No other start may work in it: what DVC and Git have locked there counts as left by one that was
    killed.

    Args:
        repository: where the commit is.
        commit: its hash.
        workspace: the folder of the clone. What it holds beside the files of Git stays.
        folder: that of the commit.

    Raises:
        InputError: Git fails.
    """
    complete = workspace / ".git" / "complete"
    if not complete.is_file():
        remove(workspace)
        workspace.parent.mkdir(parents=True, exist_ok=True)
        git(workspace.parent, "clone", "--quiet", "--no-checkout", str(repository), str(workspace))
    _unlock(workspace)
    git(workspace, "checkout", "--quiet", "--force", "-B", "study", commit)
    environments = workspace / ".venv"
    if not environments.is_symlink():
        environments.symlink_to(os.path.realpath(folder.code / ".venv"))
    write(workspace / ".dvc" / "config.local", SETTINGS.format(cache=folder.cache))
    complete.touch()


def _unlock(workspace: Path) -> None:
    """Removes the locks of DVC and Git from a workspace, in which nothing runs.

    They are files, which stay where a process is killed. DVC would also take a process of this
    node for one that had the same number on another node.
    """
    remove(workspace / ".dvc" / "tmp")
    for path in list((workspace / ".git").rglob("*.lock")):
        remove(path)


def git(workspace: Path, *arguments: str) -> str:
    """Returns what Git prints.

    Args:
        workspace: the folder in which it runs.
        arguments: its command line.

    Raises:
        InputError: it fails; the message is the line of its error, or the last one it prints.
    """
    command = ["git", *arguments]
    process = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    if process.returncode != 0:
        lines = [line for line in process.stderr.splitlines() if line.strip()]
        fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
        reasons = [*fatal, *lines[-1:], f"exit code {process.returncode}"]
        problem = f"git {arguments[0]}: {reasons[0]}"
        raise InputError(workspace, problem, "repeat the command of the study")
    return process.stdout


def run_stages(
    workspace: Path,
    name: str,
    settings: Sequence[str],
    targets: Sequence[str],
    scratch: Path,
) -> subprocess.Popen[bytes]:
    """Starts DVC on an experiment, in a process group of its own.

    SIGTERM to the group reaches the stage that runs, which saves what it has done, and then DVC
    ends: DVC itself ignores it, as it would die of it at once and leave the stage alone.

    Args:
        workspace: as from `clone`.
        name: the name of the experiment; empty for one that DVC makes up.
        settings: in Hydra's grammar.
        targets: the stages that it runs; all if there are none.
        scratch: the folder of unfinished work.
    """
    options = ["--name", name] if name else []
    for setting in settings:
        options += ["--set-param", setting]
    environment = os.environ | {"SEPARATION_SCRATCH": str(scratch)}
    # The stages' commands say `python`.
    environment["PATH"] = f"{workspace / '.venv/pipeline/bin'}{os.pathsep}{environment['PATH']}"
    scratch.mkdir(parents=True, exist_ok=True)
    ignoring = ["sh", "-c", "trap '' TERM; exec \"$@\"", "sh"]
    command = [*ignoring, sys.executable, "-m", "dvc", "exp", "run", *options, *targets]
    return subprocess.Popen(command, cwd=workspace, env=environment, start_new_session=True)
