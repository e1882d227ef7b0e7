"""The CSV lists of tracks, read and checked before TensorFlow is started."""

import csv
from dataclasses import dataclass
from pathlib import Path

import soundfile

from spleeter_mod.errors import InputError
from spleeter_mod.settings import CHANNELS, STEMS

LISTS = Path("data/csv/music")
DURATION_TOLERANCE = 0.05  # seconds


@dataclass(frozen=True)
class Track:
    """A song on disk."""

    mixture: Path
    stems: dict[str, Path]
    frames: int  # samples of each channel
    duration: float  # seconds, as the list has it

    @property
    def name(self) -> str:
        return self.mixture.parent.name


@dataclass(frozen=True)
class SongList:
    """A CSV list and the songs in it."""

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
    """Read a list and look at the header of every file in it.

    Args:
        path: the CSV file, with the columns `<mix_name>_path`, `<stem>_path` of every stem, and
            `duration` in seconds.
        sample_rate: what the files must have, in Hz.
        seconds: the shortest track allowed.
        root: the folder that the list's paths are relative to.
        mix_name: what the mixture is called.
        stems: what the stems are called.

    Raises:
        InputError: the list or a file is missing, unreadable, or not as the others.
    """
    columns = [f"{name}_path" for name in (mix_name, *stems)]
    tracks = []
    for line, row in _rows(path, [*columns, "duration"]):
        where = f"{path} line {line}"
        mixture, *files = [_file(where, column, row[column], root) for column in columns]
        frames = _check_mixture(mixture, sample_rate)
        for file in files:
            _check_stem(file, mixture)
        duration = _check_duration(where, row["duration"], frames / sample_rate, mixture)
        if frames / sample_rate < seconds:
            raise InputError(
                mixture,
                f"{frames / sample_rate:.3f} s",
                f"at least {seconds:.3f} s, for T frames",
            )
        tracks.append(Track(mixture, dict(zip(stems, files, strict=True)), frames, duration))
    return SongList(path, tracks)


def _rows(path, columns):
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            found = rows.fieldnames or []
            rows = [(rows.line_num, row) for row in rows]
    except FileNotFoundError:
        raise InputError(path, "no such file", "the list of tracks") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"no CSV ({error})", "a list of tracks") from None
    if sorted(found) != sorted(columns):
        raise InputError(path, f"the columns {','.join(found) or '(none)'}", ",".join(columns))
    if not rows:
        raise InputError(path, "no rows", "at least one track")
    for line, row in rows:
        if None in row or None in row.values():
            raise InputError(f"{path} line {line}", "another number of fields", len(columns))
    return rows


def _file(where, column, value, root):
    path = root / value
    if not path.is_file():
        raise InputError(where, f"{column} {value!r}, which does not exist", "a WAV file")
    return path


def _check_duration(where, text, length, mixture):
    try:
        duration = float(text)
    except ValueError:
        duration = float("nan")
    if not abs(duration - length) <= DURATION_TOLERANCE:
        raise InputError(where, f"duration {text}", f"{length:.3f} s as in {mixture}")
    return duration


def _check_mixture(path, sample_rate):
    header = _header(path)
    if header.samplerate != sample_rate:
        raise InputError(path, f"{header.samplerate} Hz", f"sample_rate {sample_rate} Hz")
    if header.channels != CHANNELS:
        raise InputError(path, f"{header.channels} channel(s)", CHANNELS)
    return header.frames


def _check_stem(path, mixture):
    header, expected = _header(path), _header(mixture)
    for attribute, unit in (
        ("samplerate", "Hz"),
        ("channels", "channel(s)"),
        ("frames", "samples"),
    ):
        found, wanted = getattr(header, attribute), getattr(expected, attribute)
        if found != wanted:
            raise InputError(path, f"{found} {unit}", f"{wanted} {unit} as in {mixture}")


def _header(path):
    _check_whole(path)
    try:
        return soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise InputError(path, f"no audio ({error.error_string})", "a WAV file") from None


def _check_whole(path):
    """libsndfile reads a truncated WAV file as a shorter one; its RIFF header knows better."""
    with path.open("rb") as file:
        header = file.read(8)
    size = path.stat().st_size
    if header[:4] == b"RIFF" and len(header) == 8:
        expected = 8 + int.from_bytes(header[4:], "little")
        if size < expected:
            raise InputError(path, f"{size} bytes", f"{expected} as its header says")
