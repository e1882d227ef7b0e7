"""The batch scripts of a study, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from studies.engines import Slurm
from studies.slurm.folder import CommitFolder

CELLS = "cells.txt"  # beside the script: the folder of each task's cell, a line each
PYTHON = ".venv/pipeline/bin/python"


def preparation(
    title: str, engine: Slurm, folder: CommitFolder, submission: Path, environments: Path
) -> str:
    """Returns the script of the job that prepares environments and data.

    Args:
        title: what the queue calls it.
        engine: the cluster.
        folder: that of the commit.
        submission: the folder of the script.
        environments: those that submit, which are used if the nodes can.
    """
    own = folder.environments
    lines = [
        # Without the set-up, or where it fails, nothing of what follows could work.
        "set -euo pipefail",
        *engine.setup,
        f"cd {quote(str(folder.code))}",
        f"if {quote(str(environments))}/pipeline/bin/python -c 'import dvc' 2>/dev/null; then",
        f"  ln -sfn {quote(str(environments))} .venv",
        "else",
        "  name=$(cat docker/requirements/*.txt | sha256sum | cut -c1-16)",
        f"  mkdir -p {quote(str(own))}/$name",
        f"  ln -sfn {quote(str(own))}/$name .venv",
        "  make setup",
        "fi",
        f"exec {PYTHON} -m studies.slurm.prepare {quote(str(submission))}",
    ]
    options = _options(f"{title}, preparing", engine, submission / "prepare.log")
    return _script([*options, "--nodes=1", "--requeue"], lines)


def array(
    title: str, engine: Slurm, folder: CommitFolder, submission: Path, cells: int, at_once: int
) -> str:
    """Returns the script of the array of cells.

    Args:
        title: what the queue calls it.
        engine: the cluster.
        folder: that of the commit.
        submission: the folder of the script and of `CELLS`.
        cells: how many there are.
        at_once: how many run at the same time at most.
    """
    options = [
        *_options(title, engine, submission / "%a.log"),
        f"--array=0-{cells - 1}%{at_once}",
        f"--nodes={engine.nodes}",
        "--requeue",
        f"--signal=B:USR2@{engine.signal_seconds}",
        # A cell whose data cannot be prepared would wait for ever.
        "--kill-on-invalid-dep=yes",
    ]
    if engine.gres:
        options.append(f"--gres={engine.gres}")
    lines = [
        "set -euo pipefail",
        *engine.setup,
        f'cell=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {quote(str(submission / CELLS))})',
        f"cd {quote(str(folder.code))}",
        # The cell takes the place of this shell, to which Slurm sends the signal.
        f'exec {PYTHON} -m studies.slurm.cell "$cell" >>"$cell/log.txt" 2>&1',
    ]
    return _script(options, lines)


def _options(title: str, engine: Slurm, log: Path) -> list[str]:
    """Returns the options that all jobs have in common."""
    values = {
        "job-name": re.sub("[^A-Za-z0-9_]+", "-", title),
        "output": str(log),
        "open-mode": "append",
        "partition": engine.partition,
        "account": engine.account,
        "time": engine.time_limit,
        "cpus-per-task": str(engine.cpus),
        "ntasks-per-node": "1",
        "mem": engine.memory,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None] + [
        *engine.sbatch
    ]


def _script(options: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {option}" for option in options), *lines, ""])
