"""Each GPU is one run's at a time. The listings are made up; locks and processes are real."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TextIO

import pytest

from contract import locks
from contract.errors import InputError
from contract.params import ContainerRuntime, LocalRuntime
from stages.runtime import gpus, nvidia
from stages.runtime.nvidia import Driver, Gpu
from tests import nvidia_smi
from tests.conftest import ROOT
from tests.stages.patience import SECONDS, line
from tests.yaml_files import read_yaml

DOCKER = read_yaml(ROOT / "conf/runtime/docker.yaml")
FOUR = [f"GPU-{letter * 8}" for letter in "abcd"]


@pytest.fixture(autouse=True)
def lock_names(monkeypatch):
    """The prefix of locks that no other test has. Whoever waits for one looks often."""
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    name = f"separation-test-{secrets.token_hex(8)}"
    monkeypatch.setattr(gpus, "LOCKS", name)
    return name


def machine(uuids: Sequence[str]) -> Driver:
    """Returns a driver with GPUs of these UUIDs."""
    return Driver((580, 65, 6), tuple(map(Gpu, uuids)))


@contextmanager
def reserved(
    request: gpus.Request, uuids: Sequence[str] = FOUR, at_most: int | None = None
) -> Iterator[list[str]]:
    """Reserves some of the GPUs `uuids` and yields their UUIDs."""
    with gpus.reserved(request, lambda: machine(uuids), at_most) as own:
        yield [gpu.uuid for gpu in own]


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


def test_by_default_a_run_has_one_gpu_where_there_is_one():
    with reserved("auto") as first, reserved("auto") as second:
        assert (first, second) == (FOUR[:1], FOUR[1:2])
    with reserved("auto", []) as uuids:
        assert uuids == []


@pytest.mark.parametrize("request_", ["auto", "all", 3, [1, 2]])
def test_what_does_not_train_has_one_gpu(request_):
    with reserved(request_, at_most=1) as uuids:
        assert len(uuids) == 1


@pytest.mark.parametrize(
    ("request_", "uuids", "message"),
    [
        (
            5,
            FOUR,
            "runtime.gpus: requests 5 GPUs, but 4 GPUs can be used here; "
            "request fewer, or set it to auto or none",
        ),
        (
            1,
            [],
            "runtime.gpus: requests 1 GPU, but no GPUs can be used here; "
            "request fewer, or set it to auto or none",
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
    with reserved(request, uuids) as own:
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
from stages.runtime.nvidia import Driver, Gpu
gpus.LOCKS = sys.argv[1]
with gpus.reserved(1, lambda: Driver(gpus=(Gpu("GPU-a"),))) as own:
    print(*(gpu.uuid for gpu in own), flush=True)
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
from stages.runtime.nvidia import Driver, Gpu
gpus.LOCKS = sys.argv[1]
with gpus.reserved(1, lambda: Driver(gpus=(Gpu("GPU-a"),))):
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
    listed = list(map(Gpu, names))
    with gpus.reserved("auto") as own, gpus.reserved(1) as first, gpus.reserved("none") as no:
        # CUDA shows a process one part of a GPU at most.
        assert (own, first, no) == (listed[:1] if names == MIG else listed, listed[:1], [])
    with gpus.reserved([len(names) - 1]) as last:
        assert last == listed[-1:]


def test_a_part_of_a_gpu_can_be_named(slurm):
    slurm("CUDA_VISIBLE_DEVICES", ",".join(MIG))
    with gpus.reserved(["MIG-5b"]) as part:
        assert part == [Gpu(MIG[1])]
    with pytest.raises(InputError) as raised, gpus.reserved(["MIG-5b", 0]):
        pass
    assert str(raised.value) == (
        "runtime.gpus: a training cannot use 2 GPUs if some are parts of one (MIG); "
        "set it to 1 or to auto"
    )
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
        "request fewer, or set it to auto or none"
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
    nvidia_smi.install(monkeypatch, tmp_path, [nvidia_smi.StandIn(uuid) for uuid in FOUR])
    assert [gpu.uuid for gpu in gpus.available()] == FOUR
    for visible, uuids in {"3,0": [FOUR[3], FOUR[0]], "GPU-bb": [FOUR[1]], "": []}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert [gpu.uuid for gpu in gpus.available()] == uuids


# --- what is said and done on hosts of all kinds ------------------------------------------

LOCAL = LocalRuntime(name="local", gpus="auto")
ONE = nvidia_smi.StandIn("GPU-1")
OLD = nvidia_smi.StandIn("GPU-2", "Tesla K10.G1.8GB", "3.0")
NEW = nvidia_smi.StandIn("GPU-3", "NVIDIA GeForce RTX 5090", "12.0")
BUSY = nvidia_smi.StandIn("GPU-4", used_mib=30_000)
DIVIDED = nvidia_smi.StandIn(
    "GPU-5", parts={"3g.20gb": "MIG-1", "2g.10gb": "MIG-2"}, capability="8.0"
)
UNDIVIDED = nvidia_smi.StandIn("GPU-6", parts={})
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"
TOO_NEW = (
    "NVIDIA GeForce RTX 5090 (GPU-3) {}: compute capability 12.0 is too new for TensorFlow 2.12 "
    "with CUDA 11.8, which ends at 9.0"
)


@dataclass(frozen=True)
class Host:
    """A machine, and what a training of Spleeter with a request reserves and says there.

    Attributes:
        gpus: what the machine has.
        reserved: the UUIDs, or the error.
        said: what is on stderr.
        request: the setting.
        driver: the version of its driver.
        failure: what `nvidia-smi` says if it does not work.
    """

    gpus: Sequence[nvidia_smi.StandIn]
    reserved: list[str] | str
    said: str = ""
    request: gpus.Request = "auto"
    driver: str = "580.65.06"
    failure: str = ""


HOSTS = {
    "no GPU": Host([], []),
    "no GPU, one requested": Host(
        [],
        "runtime.gpus: requests 1 GPU, but no GPUs can be used here; "
        "request fewer, or set it to auto or none",
        request=1,
    ),
    "a driver that does not work": Host(
        [ONE],
        [],
        f"WARNING: runtime.gpus: nvidia-smi: {MISMATCH}; the processors are used instead\n",
        failure=MISMATCH,
    ),
    "a driver that does not work, one requested": Host(
        [ONE],
        f"runtime.gpus: requests 1 GPU, but no GPUs can be used here (nvidia-smi: {MISMATCH}); "
        "request fewer, or set it to auto or none",
        request=1,
        failure=MISMATCH,
    ),
    "an old driver": Host(
        [ONE],
        [],
        "WARNING: runtime.gpus: NVIDIA A100-SXM4-40GB (GPU-1) is not used: TensorFlow 2.12 with "
        "CUDA 11.8 needs driver 450.80.02, found 440.118.02; the processors are used instead\n",
        driver="440.118.02",
    ),
    "a driver that says no capabilities": Host([NEW], ["GPU-3"], driver="470.82.01"),
    "one": Host([ONE], ["GPU-1"]),
    "eight": Host([nvidia_smi.StandIn(f"GPU-{k}") for k in range(8)], ["GPU-0"]),
    "eight, three requested": Host(
        [nvidia_smi.StandIn(f"GPU-{k}") for k in range(8)],
        ["GPU-0", "GPU-1", "GPU-2"],
        request=3,
    ),
    "parts": Host([DIVIDED], ["MIG-1"]),
    "parts, two requested": Host(
        [DIVIDED],
        "runtime.gpus: a training cannot use 2 GPUs if some are parts of one (MIG); "
        "set it to 1 or to auto",
        request=2,
    ),
    "parts and whole ones, two requested": Host(
        [DIVIDED, ONE, BUSY],
        ["GPU-1", "GPU-4"],
        (
            "WARNING: runtime.gpus: other programs use 29 GiB of the memory of "
            "NVIDIA A100-SXM4-40GB (GPU-4)\n"
        ),
        request=2,
    ),
    "divided into no parts": Host([UNDIVIDED], []),
    "too new": Host(
        [NEW],
        [],
        f"WARNING: runtime.gpus: {TOO_NEW.format('is not used')}; "
        "the processors are used instead\n",
    ),
    "too new, by its name": Host(
        [NEW],
        f"runtime.gpus: {TOO_NEW.format('cannot be used')}; name another GPU, or set it to none",
        request=["GPU-3"],
    ),
    "too new, one requested": Host(
        [NEW],
        "runtime.gpus: requests 1 GPU, but no GPUs can be used here "
        f"({TOO_NEW.format('').replace(' :', ':')}); request fewer, or set it to auto or none",
        request=1,
    ),
    "too old": Host(
        [OLD],
        [],
        "WARNING: runtime.gpus: Tesla K10.G1.8GB (GPU-2) is not used: compute capability 3.0 is "
        "too old for TensorFlow 2.12 with CUDA 11.8, which begins at 3.5; the processors are used "
        "instead\n",
    ),
    "too new beside one that can be used": Host(
        [NEW, ONE], ["GPU-1"], f"WARNING: runtime.gpus: {TOO_NEW.format('is not used')}\n"
    ),
    "busy": Host(
        [BUSY],
        ["GPU-4"],
        "WARNING: runtime.gpus: other programs use 29 GiB of the memory of "
        "NVIDIA A100-SXM4-40GB (GPU-4)\n",
    ),
    "busy beside an idle one": Host([BUSY, ONE], ["GPU-1"]),
}


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_what_is_reserved_and_said_on_a_host(tmp_path, monkeypatch, capsys, host):
    nvidia_smi.install(monkeypatch, tmp_path, host.gpus, host.driver, host.failure)
    listing = partial(gpus.visible_to, "spleeter", LOCAL)
    try:
        with gpus.reserved(host.request, listing) as own:
            reserved = [gpu.uuid for gpu in own]
    except InputError as error:
        reserved = str(error)
    assert reserved == host.reserved
    assert capsys.readouterr().err == host.said


def test_without_a_driver_there_are_no_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert gpus.visible() == Driver()


def test_pytorch_in_an_image_needs_the_driver_of_its_cuda():
    pytorch = partial(nvidia.refusal, model="svoice", runtime=ContainerRuntime(**DOCKER))
    a100 = Gpu("GPU-1", "NVIDIA A100-SXM4-40GB", (8, 0))
    assert pytorch(a100, (580, 65, 6)) == ""
    problem = "PyTorch with CUDA 13.0 needs driver 580.65.06, found 575.57.08"
    assert pytorch(a100, (575, 57, 8)) == problem
    problem = "compute capability 7.0 is too old for PyTorch with CUDA 13.0, which begins at 7.5"
    assert pytorch(replace(a100, capability=(7, 0)), (580, 65, 6)) == problem
    assert pytorch(replace(a100, capability=(12, 0)), (580, 65, 6)) == ""


def test_pytorch_for_processors_asks_nothing_of_a_driver(tmp_path, monkeypatch):
    """The version of CUDA is that of the installed build."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "pipeline"))
    pytorch = partial(nvidia.refusal, Gpu("GPU-1"), (525, 60, 13), "svoice", LOCAL)
    assert pytorch() == ""
    version = tmp_path / "svoice" / "lib" / "python3.11" / "site-packages" / "torch" / "version.py"
    version.parent.mkdir(parents=True)
    version.write_text("cuda: Optional[str] = None\n")
    assert pytorch() == ""
    version.write_text("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n")
    assert pytorch() == ""
    version.write_text("cuda: Optional[str] = '13.0'\n")
    assert pytorch() == "PyTorch with CUDA 13.0 needs driver 580.65.06, found 525.60.13"


def test_what_takes_long_at_the_first_start_is_said():
    h100 = Gpu("GPU-1", "NVIDIA H100 PCIe", (9, 0))
    assert nvidia.start_note(h100, "spleeter") == (
        "NVIDIA H100 PCIe: TensorFlow 2.12 has no kernels for compute capability 9.0. "
        "The driver compiles them at the first start, for minutes, and keeps them"
    )
    assert nvidia.start_note(h100, "svoice") == ""
    assert nvidia.start_note(replace(h100, capability=(8, 9)), "spleeter") == ""


def test_as_many_runs_at_once_as_have_the_gpus_that_they_request(tmp_path, monkeypatch):
    counts = {"auto": 8, "all": 1, "none": 1, 1: 8, 2: 4, 3: 2, 8: 1, 9: 1, (0, 1): 1}
    eight = [nvidia_smi.StandIn(f"GPU-{k}") for k in range(8)]
    nvidia_smi.install(monkeypatch, tmp_path, eight)
    for request, count in counts.items():
        request = list(request) if isinstance(request, tuple) else request
        assert gpus.runs_at_once(request) == count
    nvidia_smi.install(monkeypatch, tmp_path, [DIVIDED, ONE])
    assert gpus.runs_at_once("auto") == 3, "two parts and a whole one"
    nvidia_smi.install(monkeypatch, tmp_path)
    assert {gpus.runs_at_once(request) for request in ("auto", "all", 2)} == {1}
