"""Reads audio for comparison: every file of a test item must have the format of its mixture."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from contract.errors import InputError
from metrics.tables import REMEDY


class AudioFormat(NamedTuple):
    """What two signals must share to be compared sample by sample."""

    samples: int
    sample_rate: int  # Hz
    channels: int

    def __str__(self) -> str:
        channels = "1 channel" if self.channels == 1 else f"{self.channels} channels"
        return f"{self.samples} samples at {self.sample_rate} Hz in {channels}"


def read_format(path: Path) -> AudioFormat:
    """Returns the format of an audio file, which it reads from the file's header.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing or is not audio.
    """
    require_file(path)
    try:
        header = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise _not_audio(path, error) from error
    return AudioFormat(header.frames, header.samplerate, header.channels)


def read(
    path: Path, mixture_format: AudioFormat, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Reads a part of an audio file that belongs to a mixture.

    Args:
        path: the file.
        mixture_format: the format of the mixture, which the file must have as well.
        start: the first sample.
        stop: the sample after the last one; None for the end of the file.

    Returns:
        The samples as float64, `(samples, channels)`.

    Raises:
        InputError: the file is missing, is not audio, is cut short, or has another format.
    """
    file_format = read_format(path)
    if file_format != mixture_format:
        raise InputError(path, f"has {file_format}, but its mixture has {mixture_format}", REMEDY)
    stop = mixture_format.samples if stop is None else stop
    try:
        samples, _ = soundfile.read(path, start=start, stop=stop, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _not_audio(path, error) from error
    if len(samples) != stop - start:
        present, declared = start + len(samples), mixture_format.samples
        problem = f"is cut short: it has {present} samples and its header says {declared}"
        raise InputError(path, problem, REMEDY)
    return samples


def require_file(path: Path) -> None:
    """Raises `InputError` if there is no such file.

    Args:
        path: the file.
    """
    if not path.is_file():
        raise InputError(path, "there is no such file", REMEDY)


def _not_audio(path: Path, error: soundfile.LibsndfileError) -> InputError:
    reason = error.error_string.strip().rstrip(".")
    return InputError(path, f"cannot be read as audio ({reason})", REMEDY)
