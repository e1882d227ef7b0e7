"""Reading audio for comparison: every file of an item must have the form of its mixture."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from metrics.errors import InputError


class Form(NamedTuple):
    """What signals must share to be compared sample by sample."""

    samples: int
    sample_rate: int  # Hz
    channels: int

    def __str__(self) -> str:
        return f"{self.samples} samples at {self.sample_rate} Hz in {self.channels} channel(s)"


def read_form(path: Path) -> Form:
    """The form of an audio file, from its header. Raises `InputError`."""
    if not path.is_file():
        raise InputError(path, "no such file", "audio")
    try:
        header = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise InputError(path, _reason(error), "audio") from error
    return Form(header.frames, header.samplerate, header.channels)


def read(path: Path, form: Form, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Samples `start` to `stop` of an audio file of the given form.

    Returns: float64 `(samples, channels)`.
    Raises: `InputError` when the file is missing, unreadable, cut short, or of another form.
    """
    found = read_form(path)
    if found != form:
        raise InputError(path, found, f"{form}, as its mixture")
    stop = form.samples if stop is None else stop
    try:
        samples, _ = soundfile.read(path, start=start, stop=stop, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(path, _reason(error), "audio") from error
    if len(samples) != stop - start:
        raise InputError(path, f"{start + len(samples)} samples", stop)
    return samples


def _reason(error: soundfile.LibsndfileError) -> str:
    return f"unreadable data ({error.error_string.strip().rstrip('.')})"
