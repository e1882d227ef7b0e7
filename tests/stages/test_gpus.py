"""Each GPU for one run at a time. The listings are made up; locks and processes are real."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from metrics.errors import InputError
from stages import gpus
from tests.conftest import ROOT

FOUR = [f"GPU-{letter * 8}" for letter in "abcd"]


@pytest.fixture(autouse=True)
def locks(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "gpus")
    return tmp_path / "gpus"


def taken(wanted, there=FOUR):
    return gpus.taken(wanted, lambda: there)


def test_no_gpu_is_given_twice():
    with taken(1) as one, taken(2) as two, taken(1) as another:
        assert sorted([*one, *two, *another]) == FOUR
    with taken(4) as every:
        assert every == FOUR


def test_named_ones_are_those():
    with taken([2, "GPU-aaaa"]) as mine:
        assert mine == [FOUR[2], FOUR[0]]
        with taken(2) as others:
            assert others == [FOUR[1], FOUR[3]]


def test_all_may_be_none_and_none_takes_none(locks):
    with taken("all", []) as mine:
        assert mine == []
    with taken("none") as mine:
        assert mine == []
    with taken("all") as mine:
        assert mine == FOUR


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            5,
            "runtime.gpus: found 5, expected no more NVIDIA GPUs than there are: "
            "this machine has 4 that may be used",
        ),
        (
            [4],
            "runtime.gpus: found 4, expected the number or UUID of a GPU: "
            "this machine has 4 that may be used",
        ),
    ],
)
def test_what_is_not_there_is_one_line(wanted, message):
    with pytest.raises(InputError) as raised, taken(wanted):
        pass
    assert str(raised.value) == message


def test_a_gpu_on_a_machine_without_one_is_one_line():
    with pytest.raises(InputError) as raised, taken(1, []):
        pass
    assert str(raised.value).endswith("this machine has none that may be used")


def hold(wanted, there, here):
    with gpus.taken(wanted, lambda: there) as mine:
        here.send(mine)
        here.recv()


def holder(wanted, there):
    """Another process that takes GPUs, and this end of a pipe to it."""
    fork = multiprocessing.get_context("fork")
    here, other = fork.Pipe()
    process = fork.Process(target=hold, args=(wanted, there, other), daemon=True)
    process.start()
    return process, here


def received(here):
    assert here.poll(10)
    return here.recv()


def test_who_finds_none_free_waits_for_the_first_that_is(capfd, monkeypatch):
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.01)
    first, here = holder(3, FOUR)
    held = received(here)
    waiting, there = holder(2, FOUR)
    assert not there.poll(0.5)
    first.kill()  # its locks die with it
    assert set(received(there)) & set(held)
    there.send("end")
    waiting.join(10)
    assert waiting.exitcode == 0
    assert capfd.readouterr().err == "waiting for 2 GPUs in use\n"


LAUNCH = """
import subprocess, sys
from pathlib import Path
from stages import gpus
gpus.LOCKS = Path(sys.argv[1])
with gpus.taken(1, lambda: ["GPU-a"]):
    with subprocess.Popen(["sleep", "600"], close_fds=False) as trainer:
        print(trainer.pid, flush=True)
"""


def test_the_trainer_of_a_killed_launcher_keeps_its_gpu(locks, monkeypatch):
    """It is still computing there."""
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.01)
    command = [sys.executable, "-c", LAUNCH, locks]
    launcher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    trainer = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait()
    _, here = holder(1, ["GPU-a"])
    assert not here.poll(0.5)
    os.kill(trainer, signal.SIGKILL)
    assert received(here) == ["GPU-a"]


def test_the_listing_is_the_drivers_within_what_is_visible(tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(FOUR) + "\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.listed() == FOUR
    for visible, found in {"3,0": [FOUR[3], FOUR[0]], "GPU-bb": [FOUR[1]], "": []}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus.listed() == found
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert gpus.listed() == []
