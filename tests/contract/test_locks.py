"""One process at a time, whatever others do to the lock's file. Locks and processes are real."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from contract.locks import lock
from tests.conftest import ROOT
from tests.stages.patience import line


def is_locked(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


HOLD = """
import sys
from pathlib import Path
from contract.locks import lock
with lock(Path(sys.argv[1]), "the test"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_it_is_held_when_its_file_was_removed_meanwhile(tmp_path):
    """As `make clean` does: whoever waited for the file that is gone locks the new one."""
    path = tmp_path / "a.lock"
    with lock(path, "the test"):
        waiting = subprocess.Popen(
            [sys.executable, "-c", HOLD, path],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert line(waiting.stdout) == "waiting for the test in another process\n"
        path.unlink()
    assert line(waiting.stdout) == "held\n"
    assert path.exists()
    assert is_locked(path)
    waiting.communicate("end\n")
    assert not is_locked(path)


def test_its_folder_may_be_removed_before_it_is_there(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "a.lock"
    mkdir = Path.mkdir

    def removed_after(folder, *arguments, **options):
        monkeypatch.undo()
        mkdir(folder, *arguments, **options)
        folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", removed_after)
    with lock(path, "the test"):
        assert is_locked(path)


LAUNCH = """
import sys
from pathlib import Path
from contract.locks import lock
from contract.params import LocalRuntime
from stages.runtime.launcher import run_locally
with lock(Path(sys.argv[1]), "the test"):
    runtime = LocalRuntime(name="local", gpus="all")
    run_locally(["sh", "-c", "echo $$; exec sleep 600"], "trainer", runtime, [])
"""


def test_the_trainer_of_a_killed_launcher_keeps_its_folder(tmp_path):
    """It still writes there."""
    path = tmp_path / "a.lock"
    command = [sys.executable, "-c", LAUNCH, path]
    launcher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    trainer = int(line(launcher.stdout))
    launcher.kill()
    launcher.wait()
    assert is_locked(path)
    os.kill(trainer, signal.SIGKILL)
    with lock(path, "the test"):  # the kernel releases it in its own time
        pass
