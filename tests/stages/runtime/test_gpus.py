"""Each GPU is one run's at a time. The listings are made up; locks and processes are real."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TextIO

import pytest

from contract import locks
from contract.errors import InputError
from stages.runtime import gpus
from tests.conftest import ROOT
from tests.stages.patience import SECONDS, line

FOUR = [f"GPU-{letter * 8}" for letter in "abcd"]


@pytest.fixture(autouse=True)
def lock_names(monkeypatch):
    """The prefix of locks that no other test has. Whoever waits for one looks often."""
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    name = f"separation-test-{secrets.token_hex(8)}"
    monkeypatch.setattr(gpus, "LOCKS", name)
    return name


def reserved(
    request: gpus.Request, uuids: Sequence[str] = FOUR
) -> AbstractContextManager[list[str]]:
    """Reserves some of the GPUs `uuids`."""
    return gpus.reserved(request, lambda: uuids)


def test_no_gpu_is_reserved_twice():
    with reserved(1) as first, reserved(2) as second, reserved(1) as third:
        assert sorted([*first, *second, *third]) == FOUR
    with reserved(4) as uuids:
        assert uuids == FOUR


def test_gpus_can_be_named():
    with reserved([2, "GPU-aaaa"]) as named:
        assert named == [FOUR[2], FOUR[0]]
        with reserved(2) as others:
            assert others == [FOUR[1], FOUR[3]]


def test_all_may_be_none_and_none_reserves_none():
    with reserved("all", []) as uuids:
        assert uuids == []
    with reserved("none") as uuids:
        assert uuids == []
    with reserved("all") as uuids:
        assert uuids == FOUR


@pytest.mark.parametrize(
    ("request_", "uuids", "message"),
    [
        (
            5,
            FOUR,
            "runtime.gpus: requests 5 GPUs, but 4 GPUs can be used here; "
            "request fewer, or set it to all or none",
        ),
        (
            1,
            [],
            "runtime.gpus: requests 1 GPU, but no GPUs can be used here; "
            "request fewer, or set it to all or none",
        ),
        (
            [4],
            FOUR,
            "runtime.gpus: there is no GPU 4: 4 GPUs can be used here; "
            "name GPUs by number, from 0, or by UUID, as `nvidia-smi -L` lists them",
        ),
        (
            ["GPU-e"],
            FOUR[:1],
            "runtime.gpus: there is no GPU GPU-e: 1 GPU can be used here; "
            "name GPUs by number, from 0, or by UUID, as `nvidia-smi -L` lists them",
        ),
    ],
)
def test_gpus_that_do_not_exist_are_one_line(request_, uuids, message):
    with pytest.raises(InputError) as raised, reserved(request_, uuids):
        pass
    assert str(raised.value) == message


@pytest.fixture(autouse=True)
def no_holders_left():
    """Ends the processes of `start_holder`. They hold open all that this process has open, so that
    tests elsewhere would wait for its end in vain."""
    yield
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def hold(request: gpus.Request, uuids: Sequence[str], pipe: Connection, stderr: int) -> None:
    """Reserves GPUs, sends which, and keeps them until something is sent back."""
    sys.stderr = os.fdopen(stderr, "w")
    with gpus.reserved(request, lambda: uuids) as own:
        pipe.send(own)
        pipe.recv()


def start_holder(
    request: gpus.Request, uuids: Sequence[str]
) -> tuple[BaseProcess, Connection, TextIO]:
    """Starts another process that reserves GPUs.

    Returns:
        The process, this end of a pipe to it, and its stderr.
    """
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    reader, writer = os.pipe()
    process = fork.Process(target=hold, args=(request, uuids, there, writer), daemon=True)
    process.start()
    os.close(writer)
    return process, here, os.fdopen(reader)


def received(pipe: Connection) -> list[str]:
    """Returns the GPUs that a holder has reserved, as soon as it has."""
    assert pipe.poll(SECONDS)
    return pipe.recv()


def test_a_run_waits_until_enough_gpus_are_free():
    first, first_pipe, _ = start_holder(3, FOUR)
    of_the_first = received(first_pipe)
    second, second_pipe, stderr = start_holder(2, FOUR)
    assert line(stderr) == "waiting for 2 free GPUs\n"
    assert not second_pipe.poll()
    first.kill()  # the kernel releases its locks
    assert set(received(second_pipe)) & set(of_the_first)
    second_pipe.send("end")
    second.join(SECONDS)
    assert second.exitcode == 0
    assert stderr.read() == ""


def test_runs_are_served_in_turn():
    """While a run waits for many GPUs, no other takes those that become free, however few."""
    _, first, _ = start_holder(1, FOUR)
    received(first)
    _, second, stderr = start_holder(4, FOUR)
    assert line(stderr) == "waiting for 4 free GPUs\n"
    _, third, stderr = start_holder(1, FOUR)
    assert line(stderr) == "waiting for a free GPU\n"
    first.send("end")
    assert received(second) == FOUR
    second.send("end")
    assert len(received(third)) == 1
    third.send("end")


HOLD = """
import sys
from stages.runtime import gpus
gpus.LOCKS = sys.argv[1]
with gpus.reserved(1, lambda: ["GPU-a"]) as uuids:
    print(*uuids, flush=True)
    sys.stdin.readline()
"""


def start_with_temporary_folder(folder: Path, lock_names: str) -> subprocess.Popen:
    """Starts a process that wants the only GPU and has `folder` for its temporary files."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, lock_names],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("second", ["same", "other"])
def test_the_folder_of_temporary_files_does_not_matter(tmp_path, lock_names, second):
    """Cleaners empty it, and a job may have one of its own."""
    folders = {name: tmp_path / name for name in ("same", "other")}
    for folder in folders.values():
        folder.mkdir()
    with start_with_temporary_folder(folders["same"], lock_names) as holder:
        assert line(holder.stdout) == "GPU-a\n"
        for path in folders["same"].iterdir():
            shutil.rmtree(path)
        with start_with_temporary_folder(folders[second], lock_names) as waiting:
            first_line = line(waiting.stdout)
            holder.communicate("end\n")
            assert first_line == "waiting for a free GPU\n"
            assert waiting.communicate("end\n")[0] == "GPU-a\n"


LAUNCH = """
import subprocess, sys
from stages.runtime import gpus
gpus.LOCKS = sys.argv[1]
with gpus.reserved(1, lambda: ["GPU-a"]):
    with subprocess.Popen(["sleep", "600"], close_fds=False) as trainer:
        print(trainer.pid, flush=True)
"""


def test_the_trainer_of_a_killed_launcher_keeps_its_gpu(lock_names):
    """It still computes there."""
    command = [sys.executable, "-c", LAUNCH, lock_names]
    launcher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    trainer = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait()
    _, pipe, stderr = start_holder(1, ["GPU-a"])
    assert line(stderr) == "waiting for a free GPU\n"
    os.kill(trainer, signal.SIGKILL)
    assert received(pipe) == ["GPU-a"]


# What Slurm may put into CUDA_VISIBLE_DEVICES.
MIG = ["MIG-3eb87630-93d5-5b2e-9f0c-6b1f0c0bcd0a", "MIG-5b0f9c1e-1f0a-5cde-8a3b-0a9d3b0e7c11"]
ALLOTTED = {"0": ["0"], "3,1": ["3", "1"], ",".join(MIG): MIG, ",".join(FOUR): FOUR}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A job of Slurm, in which a call of nvidia-smi would fail the test."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\necho GPU-z\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch.setenv
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(("visible", "names"), ALLOTTED.items())
def test_what_slurm_allotted_is_taken_as_it_is(slurm, visible, names):
    """Without locks: a job that reserved them twice would wait for itself."""
    slurm("CUDA_VISIBLE_DEVICES", visible)
    with gpus.reserved("all") as all_gpus, gpus.reserved(1) as first, gpus.reserved("none") as no:
        assert (all_gpus, first, no) == (names, names[:1], [])
    with gpus.reserved([len(names) - 1]) as last:
        assert last == names[-1:]


def test_a_part_of_a_gpu_can_be_named(slurm):
    slurm("CUDA_VISIBLE_DEVICES", ",".join(MIG))
    with gpus.reserved(["MIG-5b", 0]) as names:
        assert names == MIG[::-1]
    with pytest.raises(InputError, match="there is no GPU MIG-6: 2 GPUs"), gpus.reserved(["MIG-6"]):
        pass


@pytest.mark.parametrize("visible", [None, "", "NoDevFiles"])
def test_slurm_may_allot_no_gpu(slurm, visible):
    if visible is not None:
        slurm("CUDA_VISIBLE_DEVICES", visible)
    with gpus.reserved("all") as names:
        assert names == []
    with pytest.raises(InputError) as raised, gpus.reserved(1):
        pass
    assert str(raised.value) == (
        "runtime.gpus: requests 1 GPU, but no GPUs can be used here; "
        "request fewer, or set it to all or none"
    )


def test_the_engine_gets_the_numbers_that_the_gpus_have_on_the_machine(slurm):
    assert gpus.names_for_the_engine(["0"]) == ["0"]
    slurm("CUDA_VISIBLE_DEVICES", "0,1")
    slurm("SLURM_JOB_GPUS", "2,5")
    assert gpus.names_for_the_engine(["1", "0"]) == ["5", "2"]
    slurm("SLURM_STEP_GPUS", "5")
    assert gpus.names_for_the_engine(["1"]) == ["1"], "the step has others than the variable says"
    slurm("CUDA_VISIBLE_DEVICES", "0")
    assert gpus.names_for_the_engine(["0"]) == ["5"]
    slurm("CUDA_VISIBLE_DEVICES", MIG[0])
    assert gpus.names_for_the_engine(MIG[:1]) == MIG[:1]


def test_the_listing_is_the_drivers_within_what_is_visible(tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(FOUR) + "\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.available() == FOUR
    for visible, uuids in {"3,0": [FOUR[3], FOUR[0]], "GPU-bb": [FOUR[1]], "": []}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus.available() == uuids
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert gpus.available() == []
