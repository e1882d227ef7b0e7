"""A trainer beside its launcher: its GPUs, its exit code, and its death."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from tests.conftest import ROOT
from tests.stages.patience import SECONDS


def run_locally(
    command: Sequence[str], gpus: str | int = "all", uuids: Sequence[str] = ()
) -> subprocess.CompletedProcess:
    """Runs a command with a launcher in a process of its own."""
    script = (
        "import sys; from contract.params import LocalRuntime; "
        "from stages.runtime.launcher import run_locally; "
        f"runtime = LocalRuntime(name='local', gpus={gpus!r}); "
        f"sys.exit(run_locally({list(command)}, 'trainer', runtime, {list(uuids)}))"
    )
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
    )


def test_the_exit_code_is_the_trainers():
    assert run_locally(["sh", "-c", "exit 7"]).returncode == 7


def test_a_trainer_sees_the_gpus_that_were_reserved_for_it():
    command = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    assert run_locally(command, 2, ["GPU-a", "GPU-b"]).stdout == "GPU-a,GPU-b\n"
    assert run_locally(command, "none").stdout == "\n"


def test_a_killed_trainer_is_reported():
    done = run_locally(["sh", "-c", "kill -9 $$"])
    assert done.returncode == 128 + 9
    remedy = "if memory ran out, reduce the batch size; otherwise repeat the command"
    assert done.stderr == f"ERROR: trainer: was killed by SIGKILL; {remedy}\n"


def test_a_signal_without_a_name_is_reported_by_its_number():
    done = run_locally(["sh", "-c", "kill -40 $$"])
    assert done.returncode == 128 + 40
    assert done.stderr == "ERROR: trainer: was killed by signal 40; repeat the command\n"
