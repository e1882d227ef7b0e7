"""How much a data set holds: counted if it is here, or as its authors state it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contract.layout import MUSIC_LISTS, SETTINGS, SPEECH_LISTS, configured_path, list_file
from contract.lists import read_rows
from contract.params import Music, Params, Speech
from contract.sources import (
    DURATION,
    LENGTH,
    MIXTURE,
    music_list_columns,
    speech_list_columns,
)
from contract.yaml_files import yaml_text
from stages.datasets.audio import inspect
from stages.datasets.musdb_folder import MIXTURE_FILE
from stages.datasets.song_splits import split_songs
from stages.datasets.wsj0mix import SPLITS
from stages.parts import KEYS, part

HERE = "counted"
SONG_SECONDS = 236.0  # 150 songs of MUSDB18 last about 10 hours (Rafii et al. 2017)
EXCERPT_SECONDS = 7.0
# 20,000 mixtures of WSJ0-2mix last 30 hours, each as long as its shorter source (Hershey et al.
# 2016). With more speakers they are shorter.
WSJ0_SECONDS = 30 * 3600 / 20_000
# 28,539 utterances of train-clean-100 last 100.6 hours (Panayotov et al. 2015); the shorter of two
# is shorter than that.
LIBRISPEECH_SECONDS = 100.6 * 3600 / 28_539
PROMPTS_SECONDS = 2.75  # of a mixture of the embedded prompts, on average
# Samples of each mixture in the debug folder of SVoice's repository, at 8 kHz.
DEBUG_LENGTHS = [39840, 59480, 58080, 88640, 36120, 25040, 52720, 27960]


class Size(NamedTuple):
    """The size of a data set.

    Attributes:
        lengths: by split, the seconds of each song or mixture, or of all alike their mean.
        origin: where this is from, as the end of `counted in ...` or a source; it begins with
            `counted` if it is exact.
    """

    lengths: dict[str, list[float]]
    origin: str

    @property
    def is_exact(self) -> bool:
        """Whether every length is known."""
        return self.origin.startswith(HERE)

    def seconds(self, split: str | None = None) -> float:
        """Returns the length of a split, or of all, in seconds."""
        splits = SPLITS if split is None else (split,)
        return sum(sum(self.lengths[name]) for name in splits)


def music_size(configuration: dict[str, Any], params: Params) -> Size | None:
    """Returns the size of the data set of music; None if it is not known before it is there.

    Args:
        configuration: all groups.
        params: the same, checked.
    """
    music = params.music
    if _is_here(configuration, "fetch_music") and _is_here(configuration, "csv_music"):
        rows = {split: _rows(MUSIC_LISTS, split, music_list_columns()) for split in SPLITS}
        if all(rows.values()):
            lengths = {split: [float(row[DURATION]) for row in rows[split]] for split in SPLITS}
            return Size(lengths, f"{HERE} in {MUSIC_LISTS}")
    if music.name == "folder":
        return _songs_of_folder(music)
    if music.name == "mini":
        parts = configuration["music"]["source"]["parts"]
        lengths = {split: [parts[split][1] - parts[split][0]] for split in SPLITS}
        return Size(lengths, f"{HERE} by music.source.parts")
    validating = len(music.validation_tracks or [])
    if music.name == "musdb18hq":
        counts = {"train": 100 - validating, "valid": validating, "test": 50}
        origin = "about 10 hours of 150 songs, Rafii et al. 2017"
        return Size(_alike(counts, SONG_SECONDS), origin)
    counts = {"train": 94 - validating, "valid": validating, "test": 50}
    return Size(
        _alike(counts, EXCERPT_SECONDS), "about 7 s of each of 144 songs, the musdb package"
    )


def speech_size(configuration: dict[str, Any], params: Params) -> Size | None:
    """Returns the size of the data set of speech; None if it is not known before it is there.

    Args:
        configuration: all groups.
        params: the same, checked.
    """
    speech = params.speech
    if _is_here(configuration, "fetch_speech"):
        columns = speech_list_columns(speech.speakers)
        rows = {split: _rows(SPEECH_LISTS, split, columns) for split in SPLITS}
        if all(rows.values()):
            rate = speech.sample_rate
            lengths = {split: [int(row[LENGTH]) / rate for row in rows[split]] for split in SPLITS}
            return Size(lengths, f"{HERE} in {SPEECH_LISTS}")
    if speech.name == "folder":
        return _mixtures_of_folder(speech)
    if speech.name == "svoice_debug":
        lengths = [samples / speech.sample_rate for samples in DEBUG_LENGTHS]
        return Size(dict.fromkeys(SPLITS, lengths), f"{HERE} from its eight mixtures")
    if speech.mode == "max" or speech.name == "prompts":
        return None
    if speech.name == "mini":
        counts, seconds = speech.mixtures.model_dump(), PROMPTS_SECONDS
        return Size(_alike(counts, seconds), f"about {seconds:.2f} s a mixture")
    if speech.name == "librispeech_2mix":
        counts, seconds = speech.mixtures.model_dump(), LIBRISPEECH_SECONDS
        origin = f"at most {seconds:.1f} s a mixture, the mean of an utterance in LibriSpeech"
        return Size(_alike(counts, seconds), origin)
    counts = {"train": 20_000, "valid": 5_000, "test": 3_000}
    bound = "about" if speech.speakers == 2 else "at most"
    origin = f"{bound} {WSJ0_SECONDS:.1f} s a mixture, Hershey et al. 2016"
    return Size(_alike(counts, WSJ0_SECONDS), origin)


def segments(lengths: Iterable[float], segment: float, stride: float, exact: bool) -> float:
    """Returns how many training segments SVoice cuts from mixtures, as `svoice.data` does.

    Args:
        lengths: of the mixtures, in seconds.
        segment: the length of a segment, in seconds.
        stride: from the start of a segment to the start of the next, in seconds.
        exact: whether each length is that of its mixture. Otherwise they are means, of which the
            last segment of a mixture is counted with one half, its mean part of a stride.
    """
    counts = []
    for length in lengths:
        strides = (length - max(0.0, segment - stride)) / stride
        # Lengths are whole samples, whose seconds are rounded.
        counts.append(max(1, math.ceil(strides - 1e-9) if exact else strides + 0.5))
    return sum(counts)


def _is_here(configuration: dict[str, Any], stage: str) -> bool:
    """Returns whether a stage has last run with these settings."""
    path = SETTINGS / f"{stage}.yaml"
    expected = yaml_text(part(configuration, KEYS[stage]))
    return path.is_file() and path.read_text(encoding="utf-8") == expected


def _rows(folder: Path, split: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Returns the rows of a list, none if it has not been made."""
    path = folder / list_file(split)
    return [row for _, row in read_rows(path, columns)] if path.is_file() else []


def _alike(counts: dict[str, int], seconds: float) -> dict[str, list[float]]:
    return {split: [seconds] * counts[split] for split in SPLITS}


def _songs_of_folder(music: Music) -> Size | None:
    """Counts the songs of the user's folder; None if there is no such folder."""
    root = configured_path(str(music.path))
    if not root.is_dir():
        return None
    splits = split_songs(root, music.validation_tracks, allow_missing=False)
    lengths = {
        split: [_seconds(folder / MIXTURE_FILE) for folder in folders]
        for split, folders in splits.items()
    }
    return Size(lengths, f"{HERE} in {music.path}")


def _mixtures_of_folder(speech: Speech) -> Size | None:
    """Counts the mixtures of the user's folder; None if there is no such folder."""
    root = configured_path(str(speech.path))
    lengths = {
        split: [_seconds(path) for path in sorted((root / folder / MIXTURE).glob("*.wav"))]
        for split, folder in SPLITS.items()
    }
    return Size(lengths, f"{HERE} in {speech.path}") if all(lengths.values()) else None


def _seconds(path: Path) -> float:
    """Returns the length of an audio file, in seconds.

    Raises:
        InputError: the file cannot be read as audio.
    """
    info = inspect(path)
    return info.samples / info.sample_rate
