"""How a stage ends: whole outputs or the old ones, one line, its exit code."""

import os
import subprocess
import sys

import pytest

from stages import outputs
from tests.conftest import ROOT


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "made"
    with outputs.directory(target) as folder:
        (folder / "first").write_text("1")
        assert not target.exists()
    with pytest.raises(ZeroDivisionError), outputs.directory(target) as folder:
        (folder / "second").write_text("2")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert [path.name for path in target.iterdir()] == ["first"]


def test_a_killed_stage_leaves_nothing_to_stumble_over(tmp_path):
    (tmp_path / ".made.partial").mkdir()
    (tmp_path / ".made.partial" / "half").write_text("x")
    with outputs.directory(tmp_path / "made") as folder:
        assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def stage(folder, body: str) -> subprocess.CompletedProcess:
    """Runs a main function as a stage, in its own process."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    script = (
        f"from stages.run import run\nfrom stages import outputs\ndef main():\n{lines}run(main)"
    )
    return subprocess.run(
        [sys.executable, "-c", f"from pathlib import Path\n{script}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_bad_input_is_one_line(tmp_path):
    done = stage(tmp_path, "from stages.errors import InputError\nraise InputError('f', 'a', 'b')")
    assert (done.returncode, done.stderr) == (1, "ERROR: f: found a, expected b\n")


def test_a_bug_keeps_its_traceback(tmp_path):
    done = stage(tmp_path, "1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_sigterm_ends_it_and_leaves_nothing_half_made(tmp_path):
    body = """import os, signal
with outputs.directory(Path("made")) as folder:
    os.kill(os.getpid(), signal.SIGTERM)
"""
    assert stage(tmp_path, body).returncode == 128 + 15
    assert not list(tmp_path.iterdir())


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    "body",
    [
        "outputs.write(Path('made'), 'x' * 100_000)",
        "with outputs.directory(Path('made')) as folder:\n"
        "    (folder / 'file').write_text('x' * 100_000)",
    ],
)
def test_a_full_disk_is_one_line_and_keeps_what_was_there(full_disk, body):
    (full_disk / "older").write_text("kept")
    done = stage(full_disk, body)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "found no space left, expected room for the output" in done.stderr
    assert [path.name for path in full_disk.iterdir()] == ["older"]
