"""The CSV lists of songs, which are read and checked before TensorFlow is imported."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from contract.errors import InputError
from contract.layout import CHANNELS, STEMS

DURATION_TOLERANCE = 0.05  # seconds

_MAKE_LIST = "correct the list, or make it again"


@dataclass(frozen=True)
class Track:
    """A song.

    Attributes:
        mixture: the file of the mixture.
        stems: the file of each stem.
        frames: the samples of each channel in each of these files.
        duration: in seconds, as the list has it.
    """

    mixture: Path
    stems: dict[str, Path]
    frames: int
    duration: float

    @property
    def name(self) -> str:
        """The name of the folder of the song."""
        return self.mixture.parent.name


@dataclass(frozen=True)
class SongList:
    """A CSV list and the songs in it.

    Attributes:
        path: the list.
        tracks: the songs, in the order of the list.
    """

    path: Path
    tracks: list[Track]


def read(
    path: Path,
    sample_rate: int,
    seconds: float = 0.0,
    root: Path = Path(),
    mix_name: str = "mix",
    stems: tuple[str, ...] = STEMS,
) -> SongList:
    """Reads a list, and checks the headers of all files in it.

    Args:
        path: the CSV file, with the columns `<mix_name>_path`, `<stem>_path` for each stem, and
            `duration` in seconds.
        sample_rate: that all files must have, in Hz.
        seconds: the length of the shortest song that is allowed.
        root: the folder to which the paths in the list are relative.
        mix_name: the name of the mixture.
        stems: the names of the stems.

    Raises:
        InputError: the list or a file is missing or unreadable, or the files of a song differ.
    """
    columns = [f"{name}_path" for name in (mix_name, *stems)]
    tracks = []
    for line, row in _rows(path, [*columns, "duration"]):
        where = f"{path}, line {line}"
        mixture, *files = [_file(where, column, row[column], root) for column in columns]
        frames = _check_mixture(mixture, sample_rate)
        for file in files:
            _check_stem(file, mixture)
        duration = _check_duration(where, row["duration"], frames / sample_rate, mixture)
        if frames / sample_rate < seconds:
            raise InputError(
                mixture,
                f"lasts {frames / sample_rate:.3f} s, but T frames last {seconds:.3f} s",
                "remove the song from the list, or reduce T",
            )
        tracks.append(Track(mixture, dict(zip(stems, files, strict=True)), frames, duration))
    return SongList(path, tracks)


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Reads the rows of a list, each with the number of its line."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        remedy = "make the lists of songs with `dvc repro`, or correct the path"
        raise InputError(path, "there is no such file", remedy) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"is not a CSV file ({error})", _MAKE_LIST) from None
    if not header:
        raise InputError(path, "has no header", _MAKE_LIST)
    if sorted(header) != sorted(columns):
        problem = f"has the columns {','.join(header)} instead of {','.join(columns)}"
        raise InputError(path, problem, _MAKE_LIST)
    if not rows:
        raise InputError(path, "has no rows", "list at least one song")
    for line, row in rows:
        # DictReader keeps surplus fields under the key None, and has None for missing ones.
        surplus = len(row.get(None, []))
        count = surplus + sum(row[column] is not None for column in columns)
        if count != len(columns):
            problem = f"has {count} fields instead of {len(columns)}"
            raise InputError(f"{path}, line {line}", problem, _MAKE_LIST)
    return rows


def _file(where: str, column: str, value: str, root: Path) -> Path:
    """Returns the path of a file in the list, which must exist."""
    path = root / value
    if not path.is_file():
        problem = f"{column} is {value!r}, but there is no such file"
        raise InputError(where, problem, "correct the path, or restore the file")
    return path


def _check_duration(where: str, text: str, length: float, mixture: Path) -> float:
    """Returns the duration in the list, in seconds, which must be near that of the mixture."""
    try:
        duration = float(text)
    except ValueError:
        duration = float("nan")
    if not abs(duration - length) <= DURATION_TOLERANCE:
        expected = f"{length:.3f} s as in {mixture}"
        raise InputError.mismatch(f"{where}, duration", text, expected)
    return duration


def _check_mixture(path: Path, sample_rate: int) -> int:
    """Checks the file of a mixture, and returns its samples of each channel."""
    header = _header(path)
    if header.samplerate != sample_rate:
        raise InputError(
            path,
            f"has {header.samplerate} Hz, but sample_rate is {sample_rate} Hz",
            "resample it, or set sample_rate",
        )
    if header.channels != CHANNELS:
        problem = f"has {header.channels} channel(s) instead of {CHANNELS}"
        raise InputError(path, problem, "convert it to stereo")
    return header.frames


def _check_stem(path: Path, mixture: Path) -> None:
    """Checks that a stem is like its mixture."""
    stem_header, mixture_header = _header(path), _header(mixture)
    for attribute, unit in (
        ("samplerate", "Hz"),
        ("channels", "channel(s)"),
        ("frames", "samples"),
    ):
        value, expected = getattr(stem_header, attribute), getattr(mixture_header, attribute)
        if value != expected:
            problem = f"has {value} {unit}, but {mixture} has {expected}"
            raise InputError(path, problem, "replace one of them")


def _header(path: Path) -> Any:
    """Reads the header of an audio file, as `soundfile.info` returns it."""
    _check_complete(path)
    try:
        return soundfile.info(path)
    except soundfile.LibsndfileError as error:
        problem = f"cannot be read as audio ({error.error_string.rstrip('.')})"
        raise InputError(path, problem, "replace it by a WAV file") from None


def _check_complete(path: Path) -> None:
    """Checks that a WAV file is as long as its RIFF header says.

    libsndfile would read a file that was cut short as a shorter one.
    """
    with path.open("rb") as file:
        header = file.read(8)
    size = path.stat().st_size
    if header[:4] == b"RIFF" and len(header) == 8:
        expected = 8 + int.from_bytes(header[4:], "little")
        if size < expected:
            problem = f"is cut short: it has {size} bytes and its header says {expected}"
            raise InputError(path, problem, "copy it again")
