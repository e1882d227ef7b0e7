"""How a command ends after an error."""

import errno
import os
import signal
import subprocess
import sys
from unittest.mock import Mock

import pytest

from contract.errors import InputError, one_line
from tests.conftest import ROOT


def end_of(error: BaseException) -> object:
    """Returns the exit code of a command in which an error is raised, or its line on stderr."""

    @one_line
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        command()
    return end.value.code


def system_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("two\nlines", "is wrong", "mend it"), "two lines: is wrong; mend it"),
        (
            system_error(errno.EACCES, "songs"),
            "songs: permission denied; allow this user to read and write it",
        ),
        (
            system_error(errno.ENAMETOOLONG, "n" * 300),
            f"{'n' * 300}: a name in this path has 300 bytes, and at most 255 are possible; "
            "shorten it",
        ),
        (
            system_error(errno.ENOSPC, "list.csv"),
            "list.csv: no space left on device; make room on its disk and repeat the command",
        ),
        # Python names no file where it writes to an open one.
        (
            system_error(errno.ENOSPC),
            f"{os.getcwd()}: no space left on device; make room on its disk and repeat the command",
        ),
    ],
)
def test_bad_input_ends_a_command_with_one_line(error, line):
    assert end_of(error) == f"ERROR: {line}"


@pytest.mark.parametrize("lines", [1, 100_000])  # written at the end, and before
def test_a_command_ends_quietly_when_nobody_reads_its_output(lines):
    program = f"from contract.errors import one_line; one_line(print)('line\\n' * {lines})"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_another_broken_pipe_is_a_fault():
    with pytest.raises(BrokenPipeError):
        one_line(Mock(side_effect=BrokenPipeError))()


def test_ctrl_c_ends_a_command_with_its_own_exit_code():
    assert end_of(KeyboardInterrupt()) == 130


@pytest.mark.parametrize("error", [system_error(errno.EIO), ValueError("a fault of the code")])
def test_anything_else_keeps_its_traceback(error):
    @one_line
    def command() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        command()
    assert caught.value is error
