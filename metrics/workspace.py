"""Where a workspace keeps what is measured and what is shown, and reading it with clear errors."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from metrics.errors import InputError

TARGETS = ("vocals", "drums", "bass", "other")
BSS_METRICS = ("SDR", "SIR", "SAR", "ISR")
SPEECH_METRICS = {  # dB; column: name
    "si_snr": "SI-SNR",
    "si_snr_improvement": "SI-SNR improvement",
    "sdr_improvement": "SDR improvement",
}
PERCEPTUAL_METRICS = {"pesq": "PESQ", "stoi": "STOI"}  # where they are wanted

MUSIC_TEST = Path("data/csv/music/test.csv")
SPEECH_TEST = Path("data/csv/speech/test.csv")
SPLEETER = Path("results/spleeter")
SVOICE = Path("results/svoice")

NAMES = ("track", "target", "mixture", "speaker", "estimate")  # columns of text in scores.csv


def read_music_list(path: Path) -> pd.DataFrame:
    """A music list: `track` (the mixture's folder), `mix_path`, `<target>_path`, `duration` (s)."""
    frame = _read_list(path, ["mix_path", *(f"{t}_path" for t in TARGETS)], ["duration"])
    frame["track"] = [Path(mixture).parent.name for mixture in frame["mix_path"]]
    return _distinct(frame, "track", path)


def read_speech_list(path: Path) -> pd.DataFrame:
    """A speech list: `file` (the mixture's name), `mix_path`, `s1_path`, …, `length` (samples),
    `sample_rate` (Hz)."""
    frame = _read_list(path, ["mix_path", "s1_path"], ["length", "sample_rate"])
    frame["file"] = [Path(mixture).name for mixture in frame["mix_path"]]
    return _distinct(frame, "file", path)


def speakers(speech_list: pd.DataFrame) -> list[str]:
    """The speakers a speech list has sources of: `["s1", "s2", …]`."""
    found = [name.removesuffix("_path") for name in speech_list if re.match(r"s\d+_path$", name)]
    return sorted(found, key=lambda name: int(name[1:]))


def unscored(scores: pd.DataFrame) -> list[str]:
    """The tracks of the rows of scores.csv of which no target has an SDR: in every frame a
    reference or an estimate is silent."""
    scored = np.isfinite(scores["SDR"]).groupby(scores["track"], sort=False).any()
    return scored.index[~scored].tolist()


def _read_table(path: Path) -> pd.DataFrame:
    """A CSV with a header; columns that name things stay text. Raises `InputError`."""
    try:
        # Converters, unlike dtypes, keep names such as "NA", which pandas takes for nothing.
        return pd.read_csv(path, converters=dict.fromkeys(NAMES, str))
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "a CSV") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(path, f"unreadable data ({reason})", "a CSV") from error


def read_results(path: Path, columns: list[str]) -> pd.DataFrame:
    """A CSV of results with these columns, all numbers but those that name things.

    Raises: `InputError`.
    """
    frame = _read_table(path)
    _require_columns(frame, columns, path)
    for column in columns:
        if column not in NAMES:
            numbers = pd.to_numeric(frame[column], errors="coerce")
            _require_cells(numbers.notna() | frame[column].isna(), frame, column, path, "a number")
            frame[column] = numbers
    return frame


def read_json(path: Path) -> dict:
    """A JSON object. Raises `InputError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "a JSON object") from error
    except ValueError as error:
        raise InputError(path, error, "a JSON object") from error
    if not isinstance(content, dict):
        raise InputError(path, f"a {type(content).__name__}", "a JSON object")
    return content


def _require_columns(frame: pd.DataFrame, columns: list[str], path: Path) -> None:
    """Raises `InputError` naming the columns that the table at `path` lacks."""
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(path, f"the columns {', '.join(frame)}", f"{', '.join(missing)} too")


def _read_list(path: Path, paths: list[str], numbers: list[str]) -> pd.DataFrame:
    frame = _read_table(path)
    _require_columns(frame, [*paths, *numbers], path)
    if frame.empty:
        raise InputError(path, "no rows", "at least one item")
    for column in frame:
        if column in numbers:
            good = pd.to_numeric(frame[column], errors="coerce").notna()
            _require_cells(good, frame, column, path, "a number")
        elif column.endswith("_path"):
            good = frame[column].map(lambda value: isinstance(value, str))
            _require_cells(good, frame, column, path, "a path")
    return frame


def _require_cells(
    good: pd.Series, frame: pd.DataFrame, column: str, path: Path, expected: str
) -> None:
    if not good.all():
        row = int(good.to_numpy().argmin())
        found = frame[column].iloc[row]
        raise InputError(path, f"{found!r} in column {column} of row {row + 1}", expected)


def _distinct(frame: pd.DataFrame, column: str, path: Path) -> pd.DataFrame:
    repeated = frame[column][frame[column].duplicated()]
    if not repeated.empty:
        raise InputError(path, f"the {column} {repeated.iloc[0]} twice", "it once")
    return frame
