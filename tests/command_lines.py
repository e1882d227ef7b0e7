"""The modules of a package that can be run, and a check of their command lines."""

import ast
import os
from pathlib import Path

from tests import forked
from tests.conftest import ROOT

HELP, UNKNOWN = "--help", "--no-such-option"
# Tools and other processes write to these folders.
IGNORED = {
    *(".git", ".venv", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis"),
    *("test-data", "test-logs"),
}


def runnable(*packages: str) -> list[str]:
    """Returns the modules of some packages that `python -m` can run, by what is in their files."""
    modules = []
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT).with_suffix("").parts
                modules.append(".".join(parts).removesuffix(".__main__"))
    return modules


def first_line(module: str) -> str:
    """Returns the first line of a module's docstring."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).splitlines()[0]


def check(command: str, empty: Path, text: str) -> None:
    """Asserts that a command has a help and refuses an unknown option in one line.

    Neither does any work: both run in an empty folder and in the repository, and the files of both
    stay as they are.

    Args:
        command: a module, or a module and one of its commands.
        empty: an empty folder.
        text: a part of the help.
    """
    before = files()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    processes = {
        (folder, option): forked.Process(["-m", *command.split(), option], folder, environment)
        for folder in (empty, ROOT)
        for option in (HELP, UNKNOWN)
    }
    results = {}
    for key, process in processes.items():
        output, errors = process.communicate()
        results[key] = process.returncode, output, errors
    for (_, option), (exit_code, output, errors) in results.items():
        if option == HELP:
            assert (exit_code, errors) == (0, "")
            assert text in output
        else:
            assert (exit_code, output) == (2, "")
            assert errors.startswith("ERROR: ") and UNKNOWN in errors
            assert errors.count("\n") == 1 and errors.endswith("\n")
    assert not list(empty.iterdir())
    assert files() == before


def files() -> dict[Path, int]:
    """Returns the time at which each of the repository's files was written, in nanoseconds."""
    times = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in IGNORED]
        for name in names:
            path = Path(folder, name)
            times[path] = path.lstat().st_mtime_ns
    return times
