"""How a stage ends: complete outputs or the previous ones, one line, and its exit code."""

import os
import subprocess
import sys

import pytest

from contract import files
from tests import forked
from tests.conftest import ROOT


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    target = tmp_path / "made"
    with files.new_folder(target) as folder:
        (folder / "first").write_text("1")
        assert not target.exists()
    with pytest.raises(ZeroDivisionError), files.new_folder(target) as folder:
        (folder / "second").write_text("2")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert [path.name for path in target.iterdir()] == ["first"]


def test_what_a_killed_stage_has_left_is_removed(tmp_path):
    (tmp_path / ".made.tmp").mkdir()
    (tmp_path / ".made.tmp" / "half").write_text("x")
    with files.new_folder(tmp_path / "made") as folder:
        assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def stage(folder, body: str) -> subprocess.CompletedProcess:
    """Runs a main function with this body as a stage, in a process of its own."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    script = (
        f"from stages.run import run\nfrom contract import files\ndef main():\n{lines}run(main)"
    )
    return subprocess.run(
        [sys.executable, "-c", f"from pathlib import Path\n{script}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_bad_input_is_one_line(tmp_path):
    done = stage(
        tmp_path, "from contract.errors import InputError\nraise InputError.mismatch('f', 'a', 'b')"
    )
    assert (done.returncode, done.stderr) == (1, "ERROR: f: found a, expected b\n")


def test_a_bug_keeps_its_traceback(tmp_path):
    done = stage(tmp_path, "1 / 0")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("\nZeroDivisionError: division by zero\n")


def test_sigterm_ends_a_stage_and_leaves_nothing_incomplete(tmp_path):
    body = """import os, signal
with files.new_folder(Path("made")) as folder:
    os.kill(os.getpid(), signal.SIGTERM)
"""
    assert stage(tmp_path, body).returncode == 128 + 15
    assert not list(tmp_path.iterdir())


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("files.write(Path('made'), 'x' * 100_000)", "made"),
        (
            "with files.new_folder(Path('made')) as folder:\n"
            "    (folder / 'file').write_text('x' * 100_000)",
            None,  # the system names no file, and the error names the working directory
        ),
    ],
)
def test_a_full_disk_is_one_line_and_keeps_the_older_files(full_disk, body, where):
    (full_disk / "older").write_text("kept")
    done = stage(full_disk, body)
    assert done.returncode == 1
    assert done.stderr == (
        f"ERROR: {where or full_disk}: no space left on device; "
        "make room on its disk and repeat the command\n"
    )
    assert [path.name for path in full_disk.iterdir()] == ["older"]


# A stage that writes its outputs, or fails, as its dependency says.
STAGE = """
from pathlib import Path
from contract import files
from contract.errors import InputError
from stages.run import run

def main():
    made = Path("dependency").read_text()
    if made.startswith("bad"):
        raise InputError("dependency", "is bad", "write something good")
    if made.startswith("lost"):
        Path("elsewhere").read_text()
    with files.new_folder(Path("results/folder")) as folder:
        (folder / "file").write_text(made)
    files.write(Path("results/metrics.json"), "{}")

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
        return forked.run_any(command, root, environment)

    for command in (["git", "init"], ["dvc", "init"], ["dvc", "repro"]):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    return root, run


def results(root):
    """The content of the files in results/, by name."""
    return {path.name: path.read_text() for path in (root / "results").rglob("*") if path.is_file()}


def test_after_a_failure_the_outputs_that_dvc_removed_are_restored(dvc_repository):
    root, run = dvc_repository
    before = results(root)
    assert set(before) == {".gitignore", "file", "metrics.json"}
    (root / "dependency").write_text("bad")
    done = run("dvc", "repro")
    assert done.returncode == 255  # DVC's own
    assert "ERROR: dependency: is bad; write something good\n" in done.stderr
    assert results(root) == before


@pytest.mark.parametrize("failure", ["bad", "lost"])  # an error of the stage, or of the system
@pytest.mark.parametrize(
    ("size", "link", "reason"),
    [
        ("64k", "copy", "no space left on device"),
        (
            "1m",
            "hardlink",
            "No possible cache link types for 'ROOT/results/folder'. "
            "See <https://dvc.org/doc/user-guide/troubleshooting#cache-types> for more information",
        ),
    ],
)
def test_an_output_that_cannot_be_restored_is_one_line(dvc_repository, size, link, reason, failure):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    root, run = dvc_repository
    before = results(root)
    (root / "dependency").write_text(failure + "x" * 100_000)
    run("dvc", "config", "cache.type", link)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", root / "results"], check=True
    )
    try:
        done = run("dvc", "repro")
        assert set(results(root)) <= {"metrics.json"}
    finally:
        subprocess.run(["umount", root / "results"], check=True)
    assert done.returncode == 255  # DVC's own
    assert "Traceback" not in done.stderr
    reason = reason.replace("ROOT", str(root))
    assert (
        f"results/folder: the previous version cannot be put back ({reason}); "
        "restore it with `dvc checkout results/folder`\n"
    ) in done.stderr
    assert results(root) == before
