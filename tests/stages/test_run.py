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
    done = stage(tmp_path, "from metrics.errors import InputError\nraise InputError('f', 'a', 'b')")
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


# Writes its outputs, or fails as a file tells it to; DVC has removed them before it starts.
STAGE = """
from pathlib import Path
from stages import outputs
from metrics.errors import InputError
from stages.run import run

def main():
    made = Path("dependency").read_text()
    if made.startswith("bad"):
        raise InputError("dependency", made, "something good")
    with outputs.directory(Path("results/folder")) as folder:
        (folder / "file").write_text(made)
    outputs.write(Path("results/metrics.json"), "{}")

run(main)
"""
PIPELINE = """
stages:
  make:
    cmd: python stage.py
    deps: [dependency, stage.py]
    outs: [results/folder]
    metrics: [results/metrics.json: {cache: false}]
"""


@pytest.fixture
def dvc_repository(tmp_path):
    """A small DVC repository whose one stage has run once; returns its folder and a command."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "stage.py").write_text(STAGE)
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "dependency").write_text("x" * 100_000)
    tools = os.path.join(sys.prefix, "bin")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tools}:{os.environ['PATH']}"}

    def run(*command):
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)

    for command in (["git", "init"], ["dvc", "init"], ["dvc", "repro"]):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    return root, run


def written(root):
    return {path.name: path.read_text() for path in (root / "results").rglob("*") if path.is_file()}


def test_what_dvc_removed_before_a_failing_stage_comes_back(dvc_repository):
    root, run = dvc_repository
    before = written(root)
    assert set(before) >= {"file", "metrics.json"}
    (root / "dependency").write_text("bad")
    done = run("dvc", "repro")
    assert done.returncode != 0
    assert "ERROR: dependency: found bad, expected something good\n" in done.stderr
    assert written(root) == before


def test_where_there_is_no_room_to_put_it_back_it_says_how(dvc_repository):
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    root, run = dvc_repository
    before = written(root)
    (root / "dependency").write_text("bad" + "x" * 100_000)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", root / "results"], check=True
    )
    try:
        done = run("dvc", "repro")
        assert set(written(root)) <= {"metrics.json"}
    finally:
        subprocess.run(["umount", root / "results"], check=True)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "`dvc checkout results/folder` brings it back" in done.stderr
    assert written(root) == before
