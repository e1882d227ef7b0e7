"""Reads the audio that the command scores, and brings estimates to the length of references."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from .errors import InputError

# The endings of the files that are read as audio, whatever their case.
ENDINGS = (".wav", ".flac")
# Samples of these types are float32 numbers, which take half the memory of a song.
SINGLE = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "FLOAT"}
# A WAV file that was written into a pipe, so before its length was known, has about the largest
# number of bytes in its header. It can be read; a FLAC file without a length cannot.
UNKNOWN_BYTES = 0x7FFF0000
UNKNOWN_FRAMES = 2**63 - 1
BLOCK = 1 << 20  # frames that are read at a time
# Of the filter of a conversion, as of the sinc function that it cuts from: the zero crossings on
# either side, and the shape of its Kaiser window, for 100 dB between the bands.
ZERO_CROSSINGS = 48
KAISER_BETA = 10.0


def read(path: Path, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Reads an audio file.

    Args:
        path: the file.
        sample_rate: what to convert the samples to, in Hz; None for the rate of the file.

    Returns:
        The samples, `(samples, channels)`, and their sample rate in Hz. They are float32 where that
        holds the file's samples exactly, otherwise float64.

    Raises:
        InputError: the file is missing, is not audio, is empty or is cut short.
        OSError: the file cannot be opened.
    """
    if not path.is_file():
        raise InputError(path, "there is no such file")
    try:
        with path.open("rb") as opened, soundfile.SoundFile(opened) as file:
            _require_whole(path, file)
            frames, rate = file.frames, file.samplerate
            dtype = "float32" if file.subtype in SINGLE else "float64"
            # In blocks, as the memory for all that a wrong header promises may not be there.
            samples = np.concatenate(list(_blocks(file, dtype)))
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
        raise InputError(path, f"cannot be read as audio ({reason})") from error
    if len(samples) != frames:
        problem = f"is cut short: it has {len(samples)} samples and its header says {frames}"
        raise InputError(path, problem, "write it again")
    if not len(samples):
        raise InputError(path, "has no samples")
    if sample_rate in (None, rate):
        return samples, rate
    return resample(samples, rate, sample_rate), sample_rate


def _require_whole(path: Path, file: soundfile.SoundFile) -> None:
    """Raises an `InputError` if the end of a file is missing, or cannot be found.

    Of a WAV file that ends early, libsndfile gives the length that is there, and notes both.
    """
    if file.frames == UNKNOWN_FRAMES:
        problem = "does not say how long it is, as if it was written into a pipe"
        raise InputError(
            path, problem, "write it again as a file, for instance with the command flac"
        )
    cut = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if cut and int(cut[1]) < UNKNOWN_BYTES:
        problem = f"is cut short: it has {cut[2]} bytes of samples and its header says {cut[1]}"
        raise InputError(path, problem, "write it again")


def _blocks(file: soundfile.SoundFile, dtype: str) -> Iterator[np.ndarray]:
    """Yields the samples of a file, each `(samples, channels)`; the last ones may be none."""
    while True:
        block = file.read(BLOCK, dtype=dtype, always_2d=True)
        yield block
        if len(block) < BLOCK:
            return


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Converts samples to another sample rate, with a linear-phase low-pass filter.

    Args:
        samples: `(samples, channels)`.
        rate: of the samples, in Hz.
        new_rate: of the result, in Hz.

    Returns:
        As many samples as last at least as long, `(samples, channels)`, in float64.
    """
    divisor = math.gcd(rate, new_rate)
    up, down = new_rate // divisor, rate // divisor
    half = ZERO_CROSSINGS * max(up, down)
    low_pass = scipy.signal.firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", KAISER_BETA))
    return scipy.signal.resample_poly(samples.astype(np.float64), up, down, window=low_pass)


def fit(samples: np.ndarray, length: int) -> tuple[np.ndarray, str]:
    """Brings an estimate to the length of its reference as `museval` does: cut or padded at the
    end.

    Args:
        samples: `(samples, channels)`.
        length: of the reference, in samples.

    Returns:
        The samples, `(length, channels)`, and what was done to them, in words; empty if nothing.
    """
    missing = length - len(samples)
    if missing == 0:
        return samples, ""
    count = f"{abs(missing)} sample{'s' if abs(missing) > 1 else ''}"
    if missing < 0:
        return samples[:length], f"{count} longer than its reference, and cut"
    padded = np.pad(samples, [(0, missing), (0, 0)])
    return padded, f"{count} shorter than its reference, and padded with silence"


def read_together(
    files: dict[str, Path], sample_rate: int | None
) -> tuple[dict[str, np.ndarray], int, list[str]]:
    """Reads the files of a song or of a speech mixture, which must fit together.

    Estimates are cut or padded to the length of the references; all else must be as long as these.

    Args:
        files: a reference first; the names of those of estimates begin with `estimate`.
        sample_rate: what the samples are converted to, in Hz; None for their own rate.

    Returns:
        The samples by the name of the file, each `(samples, channels)`; their sample rate in Hz;
        and what was done to the estimates, in words.

    Raises:
        InputError: a file is no audio, does not fit to the first one, or has samples that are not
            finite and is no estimate.
    """
    signals: dict[str, np.ndarray] = {}
    notes = []
    first = next(iter(files.values()))
    expected_rate, shape = 0, (0, 0)
    for name, path in files.items():
        samples, rate = read(path, sample_rate)
        if not signals:
            expected_rate, shape = rate, samples.shape
        if rate != expected_rate:
            problem = f"has {rate} Hz, but {first} has {expected_rate} Hz"
            raise InputError(path, problem, f"--sample-rate {expected_rate} converts it")
        if samples.shape[1] != shape[1]:
            problem = f"has {_channels(samples)}, but {first} has {shape[1]}"
            raise InputError(path, problem, "make all files mono, or all stereo")
        finite = bool(np.isfinite(samples).all())
        if name.startswith("estimate"):
            samples, change = fit(samples, shape[0])
            notes += [f"the {name} is {change}"] if change else []
            notes += [] if finite else [f"the {name} has samples that are NaN or infinite"]
        elif not finite:
            raise InputError(path, "has samples that are NaN or infinite", "write it again")
        elif len(samples) != shape[0]:
            problem = f"has {len(samples)} samples, but {first} has {shape[0]}"
            raise InputError(path, problem, "references must be equally long")
        signals[name] = samples
    return signals, expected_rate, notes


def _channels(samples: np.ndarray) -> str:
    """Returns how many channels there are in samples `(samples, channels)`, in words."""
    count = samples.shape[1]
    return "1 channel" if count == 1 else f"{count} channels"
