"""Each GPU for one run at a time. The listings are made up; locks and processes are real."""

import multiprocessing
import os
import secrets
import shutil
import signal
import subprocess
import sys

import pytest

from metrics.errors import InputError
from stages import gpus, lock
from tests.conftest import ROOT
from tests.stages.patience import SECONDS, line

FOUR = [f"GPU-{letter * 8}" for letter in "abcd"]


@pytest.fixture(autouse=True)
def locks(monkeypatch):
    """Locks of no other test. Who waits for one looks often."""
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.01)
    name = f"separation-test-{secrets.token_hex(8)}"
    monkeypatch.setattr(gpus, "LOCKS", name)
    return name


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


def test_all_may_be_none_and_none_takes_none():
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


@pytest.fixture(autouse=True)
def end_of_holders():
    """They hold open all that this process had, whose end elsewhere would be waited for in vain."""
    yield
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def hold(wanted, there, here, said):
    sys.stderr = os.fdopen(said, "w")
    with gpus.taken(wanted, lambda: there) as mine:
        here.send(mine)
        here.recv()


def holder(wanted, there):
    """Another process that takes GPUs, this end of a pipe to it, and what it says."""
    fork = multiprocessing.get_context("fork")
    here, other = fork.Pipe()
    reader, writer = os.pipe()
    process = fork.Process(target=hold, args=(wanted, there, other, writer), daemon=True)
    process.start()
    os.close(writer)
    return process, here, os.fdopen(reader)


def received(here):
    assert here.poll(SECONDS)
    return here.recv()


def test_who_finds_none_free_waits_for_the_first_that_is():
    first, here, _ = holder(3, FOUR)
    held = received(here)
    waiting, there, said = holder(2, FOUR)
    assert line(said) == "waiting for 2 GPUs in use\n"
    assert not there.poll()
    first.kill()  # its locks die with it
    assert set(received(there)) & set(held)
    there.send("end")
    waiting.join(SECONDS)
    assert waiting.exitcode == 0
    assert said.read() == ""


def test_who_waits_for_more_than_are_free_is_next():
    """Nobody takes what becomes free meanwhile, however few he wants."""
    _, here, _ = holder(1, FOUR)
    received(here)
    _, there, said = holder(4, FOUR)
    assert line(said) == "waiting for 4 GPUs in use\n"
    _, elsewhere, said = holder(1, FOUR)
    assert line(said) == "waiting for a GPU in use\n"
    here.send("end")
    assert received(there) == FOUR
    there.send("end")
    assert len(received(elsewhere)) == 1
    elsewhere.send("end")


HOLD = """
import sys
from stages import gpus
gpus.LOCKS = type(gpus.LOCKS)(sys.argv[1])
with gpus.taken(1, lambda: ["GPU-a"]) as mine:
    print(*mine, flush=True)
    sys.stdin.readline()
"""


def holder_with(folder, locks):
    """A process that wants the only GPU and has `folder` for its temporary files."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, locks],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("second", ["same", "other"])
def test_folders_of_temporary_files_do_not_matter(tmp_path, locks, second):
    """Cleaners empty them, and a job may have one of its own."""
    folders = {name: tmp_path / name for name in ("same", "other")}
    for folder in folders.values():
        folder.mkdir()
    with holder_with(folders["same"], locks) as one:
        assert line(one.stdout) == "GPU-a\n"
        for path in folders["same"].iterdir():
            shutil.rmtree(path)
        with holder_with(folders[second], locks) as another:
            said = line(another.stdout)
            one.communicate("end\n")
            assert said == "waiting for a GPU in use\n"
            assert another.communicate("end\n")[0] == "GPU-a\n"


LAUNCH = """
import subprocess, sys
from stages import gpus
gpus.LOCKS = sys.argv[1]
with gpus.taken(1, lambda: ["GPU-a"]):
    with subprocess.Popen(["sleep", "600"], close_fds=False) as trainer:
        print(trainer.pid, flush=True)
"""


def test_the_trainer_of_a_killed_launcher_keeps_its_gpu(locks):
    """It is still computing there."""
    command = [sys.executable, "-c", LAUNCH, locks]
    launcher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    trainer = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait()
    _, here, said = holder(1, ["GPU-a"])
    assert line(said) == "waiting for a GPU in use\n"
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
