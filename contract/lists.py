"""Reads the lists that a trainer reads: CSV files with a header, written in UTF-8."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from contract.errors import InputError

# How far the duration of a song in a list may be from that of its file, in seconds. Lists may round
# to 0.1 s, and coders such as AAC add up to 2112 samples of silence to a song.
DURATION_TOLERANCE = 0.05
MAKE_LIST = "correct the list, or make it again with `dvc repro`"


def read_rows(
    path: Path, columns: Sequence[str], columns_remedy: str = MAKE_LIST
) -> list[tuple[int, dict[str, str]]]:
    """Reads a list.

    Args:
        path: the list.
        columns: the names that must stand in its first line, in any order.
        columns_remedy: what to do about a list with other columns, for the error.

    Returns:
        At least one row: the number of its line, and its field of each column.

    Raises:
        InputError: there is no such file, it is not CSV, it has other columns or no rows, or a row
            has fewer or more fields than there are columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        remedy = "make the lists with `dvc repro`, or correct the path"
        raise InputError(path, "there is no such file", remedy) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"is not a CSV file ({error})", MAKE_LIST) from None
    if not header:
        raise InputError(path, "has no header", MAKE_LIST)
    if sorted(header) != sorted(columns):
        problem = f"has the columns {','.join(header)} instead of {','.join(columns)}"
        raise InputError(path, problem, columns_remedy)
    if not rows:
        raise InputError(path, "has no rows", MAKE_LIST)
    for line, row in rows:
        # DictReader keeps surplus fields under the key None, and has None for missing ones.
        surplus = len(row.get(None, []))
        count = surplus + sum(row[column] is not None for column in columns)
        if count != len(columns):
            problem = f"has {count} fields instead of {len(columns)}"
            raise InputError(f"{path}, line {line}", problem, MAKE_LIST)
    return rows


def check_distinct(path: Path, kind: str, names: Iterable[str]) -> None:
    """Checks that no two rows of a list have the same name, after which their estimates are named.

    Args:
        path: the list, for the error.
        kind: what has the names, such as `track`, for the error.
        names: the name of each row.

    Raises:
        InputError: two rows have the same name.
    """
    earlier = set()
    for name in names:
        if name in earlier:
            problem = f"lists the {kind} {name} twice"
            raise InputError(path, problem, "remove one of the two, or rename it")
        earlier.add(name)
