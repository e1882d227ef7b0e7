"""One process at a time holds a lock, whatever others do to its file.

The locks and the processes are real; only a file system without locks is pretended.
"""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.locks import lock
from contract.records import GrowingFile
from tests.conftest import ROOT
from tests.stages.patience import line


def is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


# Holds the lock until it reads a line.
HOLD = """
import sys
from pathlib import Path
from contract.locks import lock
with lock(Path(sys.argv[1]), "the test"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_waiting_process_locks_the_new_file_if_the_old_one_was_removed(tmp_path):
    """`make clean` removes it: whoever waited for the old file has to lock the new one."""
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
    assert waiting.returncode == 0
    assert not is_locked(path)


def test_the_folder_may_be_removed_before_the_lock_is_in_it(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "a.lock"
    mkdir = Path.mkdir

    def make_and_remove(folder, *arguments, **options):
        monkeypatch.undo()
        mkdir(folder, *arguments, **options)
        folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", make_and_remove)
    with lock(path, "the test"):
        assert is_locked(path)


LAUNCH = """
import sys
from pathlib import Path
from contract.locks import lock
from stages.runtime.launcher import run_locally
with lock(Path(sys.argv[1]), "the test"):
    run_locally(["sh", "-c", "echo $$; exec sleep 600"], "trainer", [])
"""


def test_the_trainer_of_a_killed_launcher_keeps_the_lock(tmp_path):
    """The trainer still writes to the folder that the lock guards."""
    path = tmp_path / "a.lock"
    command = [sys.executable, "-c", LAUNCH, path]
    launcher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    trainer = int(line(launcher.stdout))
    launcher.kill()
    launcher.wait()
    assert is_locked(path)
    os.kill(trainer, signal.SIGKILL)
    with lock(path, "the test"):  # waits until the kernel has released it
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_work_goes_on_where_the_file_system_has_no_locks(tmp_path, monkeypatch, number):
    """Twice at a time, which a lock would not allow."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "a.lock"
    with lock(path, "the test"), lock(path, "the test"):
        assert path.exists()
    steps = tmp_path / "steps.csv"
    with GrowingFile(steps) as first, GrowingFile(steps) as second:
        first.append(b"a")
        second.append(b"b")
    assert steps.read_bytes() == b"ab"


def test_another_failure_of_the_file_system_is_an_error(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), lock(tmp_path / "a.lock", "a test"):
        pass
