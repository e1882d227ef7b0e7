"""Reads the tables of a workspace: test lists and results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contract.errors import InputError
from contract.lists import check_distinct
from contract.sources import (
    DURATION,
    LENGTH,
    MIXTURE_PATH,
    SAMPLE_RATE,
    music_list_columns,
    path_column,
    speaker,
    speech_list_columns,
)

# The columns of the tables of results that hold text.
TEXT_COLUMNS = ("bound", "track", "target", "mixture", "speaker", "estimate")
REMEDY = "run the stage that writes it again"


def read_music_list(path: Path) -> pd.DataFrame:
    """Reads a list of songs.

    Args:
        path: the list.

    Returns:
        One row per song: the columns of the list (`contract.sources.music_list_columns`), and
        `track`, the name of the mixture's folder.

    Raises:
        InputError: the list is missing or wrong, or a track is in it twice.
    """
    songs = _read_list(path, music_list_columns(), [DURATION])
    songs["track"] = [Path(mixture).parent.name for mixture in songs[MIXTURE_PATH]]
    check_distinct(path, "track", songs["track"])
    return songs


def read_speech_list(path: Path) -> pd.DataFrame:
    """Reads a list of speech mixtures.

    Args:
        path: the list.

    Returns:
        One row per mixture: the columns of the list (`contract.sources.speech_list_columns`), and
        `file`, the name of the mixture's file.

    Raises:
        InputError: the list is missing or wrong, or a file name is in it twice.
    """
    mixtures = _read_list(path, speech_list_columns(1), [LENGTH, SAMPLE_RATE])
    mixtures["file"] = [Path(mixture).name for mixture in mixtures[MIXTURE_PATH]]
    check_distinct(path, "file", mixtures["file"])
    return mixtures


def speakers(speech_list: pd.DataFrame) -> list[str]:
    """Returns the speakers that a speech list has sources of, as `["s1", "s2"]`.

    Args:
        speech_list: as `read_speech_list` returns it.
    """
    return list(takewhile(lambda name: path_column(name) in speech_list, map(speaker, count(1))))


def unscored(scores: pd.DataFrame) -> list[str]:
    """Returns the tracks of which no target has an SDR.

    In every frame of such a track, a reference or an estimate is silent.

    Args:
        scores: one row per track × target, with its `track` and `SDR`.
    """
    scored = np.isfinite(scores["SDR"]).groupby(scores["track"], sort=False).any()
    return scored.index[~scored].tolist()


def read_results(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Reads a CSV file of results.

    Args:
        path: the file.
        columns: what it must have. All but `TEXT_COLUMNS` become numbers.

    Raises:
        InputError: the file is missing or wrong.
    """
    frame = _read_table(path)
    _require_columns(frame, columns, path)
    for column in columns:
        if column not in TEXT_COLUMNS:
            numbers = pd.to_numeric(frame[column], errors="coerce")
            valid = numbers.notna() | frame[column].isna()
            _require_cells(valid, frame, column, path, "a number")
            frame[column] = numbers
    return frame


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(path, "there is no such file", REMEDY) from error
    except ValueError as error:
        raise InputError(path, f"is not valid JSON ({error})", REMEDY) from error
    if not isinstance(content, dict):
        raise InputError(path, "is valid JSON, but not an object", REMEDY)
    return content


def _read_table(path: Path) -> pd.DataFrame:
    """Reads a CSV file with a header, in which text columns stay text."""
    try:
        # Converters, unlike dtypes, keep names such as "NA", which pandas reads as missing values.
        return pd.read_csv(path, converters=dict.fromkeys(TEXT_COLUMNS, str))
    except FileNotFoundError as error:
        raise InputError(path, "there is no such file", REMEDY) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(path, f"is not a valid CSV file ({reason})", REMEDY) from error


def _read_list(path: Path, columns: list[str], numbers: list[str]) -> pd.DataFrame:
    """Reads a list of items, in which every path and every number is valid.

    Args:
        path: the list.
        columns: what it must have; more speakers may follow.
        numbers: the columns among these that hold numbers.
    """
    frame = _read_table(path)
    _require_columns(frame, columns, path)
    if frame.empty:
        raise InputError(path, "lists nothing", REMEDY)
    for column in frame:
        if column in numbers:
            valid = pd.to_numeric(frame[column], errors="coerce").notna()
            _require_cells(valid, frame, column, path, "a number")
        elif column.endswith(path_column("")):
            valid = frame[column].map(lambda value: isinstance(value, str))
            _require_cells(valid, frame, column, path, "a path")
    return frame


def _require_columns(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raises an `InputError` about the columns that the table at `path` lacks."""
    missing = [column for column in columns if column not in frame]
    if missing:
        problem = f"has the columns {', '.join(frame)}, but not {', '.join(missing)}"
        raise InputError(path, problem, REMEDY)


def _require_cells(
    valid: pd.Series, frame: pd.DataFrame, column: str, path: Path, expected: str
) -> None:
    """Raises an `InputError` about the first cell of a column that is not valid."""
    if not valid.all():
        row = int(valid.to_numpy().argmin())
        value = frame[column].iloc[row]
        problem = f"{value!r} in row {row + 1}, column {column}, is not {expected}"
        raise InputError(path, problem, REMEDY)
