"""The Python files of the project, and what they import."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT


def python_files(folder: str) -> list[Path]:
    """Returns the Python files of a folder of the repository, in the order of their names.

    What `pip install ./metrics` leaves there is not among them.

    Args:
        folder: its path from the root of the repository.
    """
    built = ROOT / "metrics" / "build"
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in paths if not path.is_relative_to(built)]


def imports(path: Path) -> Iterator[str]:
    """Yields the modules that a file imports, at any depth of its code.

    What stands behind `from … import` is yielded as a module as well, although it may be another
    name in a module.

    Args:
        path: the file.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts if node.level else ()
            above = package[: len(package) - node.level + 1]
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
