"""Every module of a package that can be run, and what it owes whoever types it wrongly."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

ASKED, REFUSED = "--help", "--no-such-option"
# Tools and other processes write there.
LEFT_OUT = {".git", ".venv", "__pycache__", ".pytest_cache", ".ruff_cache", "test-data"}


def runnable(*packages: str) -> list[str]:
    """The modules of these folders that `python -m` can run, found by what is in their files."""
    found = []
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT).with_suffix("").parts
                found.append(".".join(parts).removesuffix(".__main__"))
    return found


def first_line(module: str) -> str:
    """The first line of a module's docstring."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).splitlines()[0]


def check(command: str, empty: Path, text: str) -> None:
    """Asserts of a module, or of a command of it, that `--help` prints `text` and that an unknown
    option is refused in one line. Neither does any work: both run in a folder that is empty and in
    the repository, and the files of both stay as they are."""
    before = files()
    started = {
        (folder, option): subprocess.Popen(
            [sys.executable, "-m", *command.split(), option],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in (empty, ROOT)
        for option in (ASKED, REFUSED)
    }
    ended = {}
    for key, process in started.items():
        out, err = process.communicate(timeout=300)
        ended[key] = process.returncode, out, err
    for (_, option), (code, out, err) in ended.items():
        if option == ASKED:
            assert (code, err) == (0, "")
            assert text in out
        else:
            assert (code, out) == (2, "")
            assert err.startswith("ERROR: ") and REFUSED in err
            assert err.count("\n") == 1
    assert not list(empty.iterdir())
    assert files() == before


def files() -> dict[Path, int]:
    """The repository's files and when each was written."""
    found = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            path = Path(folder, name)
            found[path] = path.lstat().st_mtime_ns
    return found
