"""The CSV lists of tracks, read and checked before TensorFlow is started."""

import csv
from dataclasses import dataclass
from pathlib import Path

import soundfile

from spleeter_mod.errors import InputError
from spleeter_mod.settings import CHANNELS, STEMS

LISTS = Path("data/csv/music")
COLUMNS = ("mix_path", *(f"{stem}_path" for stem in STEMS), "duration")
DURATION_TOLERANCE = 0.05  # seconds


@dataclass(frozen=True)
class Track:
    """A song on disk, in paths relative to the working directory."""

    mixture: Path
    stems: dict[str, Path]
    frames: int  # samples of each channel

    @property
    def name(self) -> str:
        return self.mixture.parent.name


def read(path: Path, sample_rate: int, seconds: float = 0.0) -> list[Track]:
    """Read a list and look at the header of every file in it.

    Args:
        path: the CSV file.
        sample_rate: what the files must have, in Hz.
        seconds: the shortest track allowed.

    Raises:
        InputError: the list or a file is missing, unreadable, or not as the others.
    """
    return [_track(path, row, line, sample_rate, seconds) for line, row in _rows(path)]


def _rows(path):
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            rows = [(rows.line_num, row) for row in rows]
    except FileNotFoundError:
        raise InputError(path, "no such file", "the list of tracks") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"no CSV ({error})", "a list of tracks") from None
    if sorted(columns) != sorted(COLUMNS):
        raise InputError(path, f"the columns {','.join(columns) or '(none)'}", ",".join(COLUMNS))
    if not rows:
        raise InputError(path, "no rows", "at least one track")
    return rows


def _track(path, row, line, sample_rate, seconds):
    where = f"{path} line {line}"
    if None in row or None in row.values():
        raise InputError(where, "another number of fields", f"{len(COLUMNS)}")
    paths = {}
    for column in COLUMNS[:-1]:
        paths[column] = Path(row[column])
        if not paths[column].is_file():
            raise InputError(where, f"{column} {row[column]!r}, which does not exist", "a WAV file")
    mixture, *stems = paths.values()
    frames = _check_mixture(mixture, sample_rate)
    for stem in stems:
        _check_stem(stem, mixture)
    length = frames / sample_rate
    try:
        difference = abs(float(row["duration"]) - length)
    except ValueError:
        difference = float("nan")
    if not difference <= DURATION_TOLERANCE:
        raise InputError(where, f"duration {row['duration']}", f"{length:.3f} s as in {mixture}")
    if length < seconds:
        raise InputError(
            mixture, f"{length:.3f} s", f"at least {seconds:.3f} s, for spleeter.T frames"
        )
    return Track(mixture, dict(zip(STEMS, stems, strict=True)), frames)


def _check_mixture(path, sample_rate):
    header = _header(path)
    if header.samplerate != sample_rate:
        raise InputError(path, f"{header.samplerate} Hz", f"music.sample_rate {sample_rate} Hz")
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
