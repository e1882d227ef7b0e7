"""A trainer beside its launcher: its GPUs, its exit code, and its death."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.conftest import ROOT
from tests.stages.patience import SECONDS, line


def start_locally(command: Sequence[str], uuids: Sequence[str] = ()) -> subprocess.Popen:
    """Starts a launcher of a command in a process of its own."""
    script = (
        "import sys; from stages.runtime.launcher import run_locally; "
        f"sys.exit(run_locally({list(command)}, 'trainer', {list(uuids)}))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, text=True, **pipes)


def run_locally(command: Sequence[str], uuids: Sequence[str] = ()) -> subprocess.CompletedProcess:
    """Runs a command with a launcher to its end."""
    with start_locally(command, uuids) as process:
        output, errors = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess((), process.returncode, output, errors)


def test_the_exit_code_is_the_trainers():
    assert run_locally(["sh", "-c", "exit 7"]).returncode == 7


def test_a_trainer_sees_the_gpus_that_were_reserved_for_it_and_no_others(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    command = ["sh", "-c", 'echo "${CUDA_VISIBLE_DEVICES-all} $SEPARATION_GPUS"']
    assert run_locally(command, ["GPU-a", "GPU-b"]).stdout == "GPU-a,GPU-b 2\n"
    assert run_locally(command).stdout == " 0\n"


def test_a_killed_trainer_is_reported():
    done = run_locally(["sh", "-c", "kill -9 $$"])
    assert done.returncode == 128 + 9
    remedy = "if memory ran out, reduce the batch size; otherwise repeat the command"
    assert done.stderr == f"ERROR: trainer: was killed by SIGKILL; {remedy}\n"


def test_a_signal_without_a_name_is_reported_by_its_number():
    done = run_locally(["sh", "-c", "kill -40 $$"])
    assert done.returncode == 128 + 40
    assert done.stderr == "ERROR: trainer: was killed by signal 40; repeat the command\n"


@pytest.mark.parametrize(
    ("trap", "code"),
    [
        ("exit 143", 143),  # as a trainer, when it has saved a checkpoint
        ("exit 1", 143),  # as torchrun
        ("exit 0", 0),  # it had just ended
        ("trap - TERM; kill -TERM $$", 143),  # as a trainer that has not begun yet
    ],
)
def test_a_trainer_that_sigterm_ends_has_the_time_that_it_needs(trap, code):
    script = f"trap 'sleep 0.3; echo saved; {trap}' TERM; echo started; while :; do sleep 0.1; done"
    with start_locally(["sh", "-c", script]) as process:
        assert line(process.stdout) == "started\n"
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output, errors) == (code, "saved\n", "")
