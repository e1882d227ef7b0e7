"""Reading and writing audio files, with clear errors."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from contract.errors import InputError
from contract.files import writing
from contract.wav_length import check_complete

ANOTHER_COPY = "get another copy of it"


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says, checked against the file's size."""

    samples: int
    sample_rate: int  # Hz
    channels: int


def inspect(path: Path) -> AudioInfo:
    """Reads the header of an audio file.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, not readable as audio, cut short, or without samples.
    """
    try:
        check_complete(path, ANOTHER_COPY)
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "fetch its data set again") from None
    except OSError as error:
        problem = f"cannot be read as audio ({error.strerror.lower()})"
        raise InputError(path, problem, ANOTHER_COPY) from None
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise undecodable(path, error) from None
    if info.frames == 0:
        raise InputError(path, "has no samples", ANOTHER_COPY)
    return AudioInfo(info.frames, info.samplerate, info.channels)


def undecodable(path: Path, error: soundfile.LibsndfileError) -> InputError:
    """Returns libsndfile's error about a file as an error for the user.

    Args:
        path: the file.
        error: the error of libsndfile.
    """
    reason = error.error_string.rstrip(".").lower()
    return InputError(path, f"cannot be read as audio ({reason})", ANOTHER_COPY)


def require(path: Path, sample_rate: int, channels: int, samples: int | None = None) -> AudioInfo:
    """Reads the header of an audio file and compares it with what is expected.

    Args:
        path: the file.
        sample_rate: in Hz.
        channels: the number of channels.
        samples: per channel; None allows any number.

    Raises:
        InputError: as `inspect`, or a property differs.
    """
    info = inspect(path)
    if info.sample_rate != sample_rate:
        raise InputError.mismatch(
            path, f"a sample rate of {info.sample_rate} Hz", f"{sample_rate} Hz"
        )
    if info.channels != channels:
        raise InputError.mismatch(path, _channels(info.channels), _channels(channels))
    if samples is not None and info.samples != samples:
        raise InputError.mismatch(
            path, f"{info.samples} samples", f"{samples}, the length of its mixture"
        )
    return info


def require_mono(path: Path, channels: int) -> None:
    """Checks the number of channels of an utterance.

    Args:
        path: the utterance.
        channels: how many it has.

    Raises:
        InputError: it is not 1.
    """
    if channels != 1:
        raise InputError.mismatch(path, _channels(channels), _channels(1))


def _channels(count: int) -> str:
    return f"{count} channel" if count == 1 else f"{count} channels"


def pcm16(samples: np.ndarray, sample_rate: int) -> bytes:
    """Encodes a signal as a 16-bit WAV file.

    Args:
        samples: (samples,) or (samples, channels). A sample x becomes the integer nearest to
            2^15·x; what exceeds 16 bits is clipped.
        sample_rate: in Hz.
    """
    scaled = np.clip(np.rint(samples * 2**15), -(2**15), 2**15 - 1)
    content = io.BytesIO()
    soundfile.write(content, scaled.astype(np.int16), sample_rate, subtype="PCM_16", format="WAV")
    return content.getvalue()


def write_pcm16(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Writes a signal as a 16-bit WAV file, and makes its folder.

    Args:
        path: the file.
        samples: (samples,) or (samples, channels), encoded as by `pcm16`.
        sample_rate: in Hz.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as stream:
        stream.write(pcm16(samples, sample_rate))
