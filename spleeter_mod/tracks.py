"""The CSV lists of songs, which are read and checked before TensorFlow is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from contract.errors import InputError
from contract.lists import DURATION_TOLERANCE, read_rows
from contract.sources import CHANNELS, DURATION, MIXTURE, STEMS, path_column
from contract.wav_length import check_complete


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
    mix_name: str = MIXTURE,
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
    columns = [path_column(name) for name in (mix_name, *stems)]
    tracks = []
    for line, row in read_rows(path, [*columns, DURATION]):
        where = f"{path}, line {line}"
        mixture, *files = [_file(where, column, row[column], root) for column in columns]
        frames = _check_mixture(mixture, sample_rate)
        for file in files:
            _check_stem(file, mixture)
        duration = _check_duration(where, row[DURATION], frames / sample_rate, mixture)
        if frames / sample_rate < seconds:
            raise InputError(
                mixture,
                f"lasts {frames / sample_rate:.3f} s, but T frames last {seconds:.3f} s",
                "remove the song from the list, or reduce T",
            )
        tracks.append(Track(mixture, dict(zip(stems, files, strict=True)), frames, duration))
    return SongList(path, tracks)


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
    check_complete(path, "copy it again")
    try:
        return soundfile.info(path)
    except soundfile.LibsndfileError as error:
        problem = f"cannot be read as audio ({error.error_string.rstrip('.')})"
        raise InputError(path, problem, "replace it with a WAV file") from None
