"""The modules of a package that can be run, and a check of their command lines."""

import ast
import functools
import os
import sys
import tempfile
from pathlib import Path

from tests import forked
from tests.conftest import IN_CI, ROOT
from tests.imports import python_files
from tests.project import copy_project

HELP, UNKNOWN = "--help", "--no-such-option"


def runnable(*packages: str) -> list[str]:
    """Returns the modules of some packages that `python -m` can run, by what is in their files."""
    modules = []
    for package in packages:
        for path in python_files(package):
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

    Neither does any work: both run in an empty folder and in a copy of the repository, and the
    files of both stay as they are. In CI one help is that of a new Python, in which no import has
    printed anything before, or made another one unnecessary.

    Args:
        command: a module, or a module and one of its commands.
        empty: an empty folder.
        text: a part of the help.
    """
    project = Path(copy_of_the_project().name)
    before = files(project)
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    arguments = ["-m", *command.split()]
    processes = {
        (folder, option): forked.Process([*arguments, option], folder, environment)
        for folder, option in ((empty, UNKNOWN), (project, HELP), (project, UNKNOWN))
    }
    command_of_help = [sys.executable, *arguments, HELP]
    in_empty = forked.run_any(command_of_help, empty, environment, fork=not IN_CI)
    results = [(HELP, in_empty.returncode, in_empty.stdout, in_empty.stderr)]
    for (_, option), process in processes.items():
        output, errors = process.communicate()
        results.append((option, process.returncode, output, errors))
    for option, exit_code, output, errors in results:
        if option == HELP:
            assert (exit_code, errors) == (0, "")
            assert text in output
        else:
            assert (exit_code, output) == (2, "")
            assert errors.startswith("ERROR: ") and UNKNOWN in errors
            assert errors.count("\n") == 1 and errors.endswith("\n")
    assert not list(empty.iterdir())
    assert files(project) == before


@functools.cache
def copy_of_the_project() -> tempfile.TemporaryDirectory:
    """Returns a folder with the project's files, in which only these tests run commands."""
    folder = tempfile.TemporaryDirectory()
    copy_project(Path(folder.name))
    return folder


def files(root: Path) -> dict[Path, int]:
    """Returns the time at which each file below a folder was written, in nanoseconds."""
    return {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
