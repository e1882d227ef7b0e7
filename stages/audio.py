"""Reading WAV files with clear errors."""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from metrics.errors import InputError
from stages.files import writing


@dataclass(frozen=True)
class Info:
    """What a WAV file's header says, checked against its size."""

    samples: int
    sample_rate: int  # Hz
    channels: int

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def inspect(path: Path) -> Info:
    """The properties of a WAV file, from its header.

    Raises:
        InputError: missing, not readable as audio, cut short, or without samples.
    """
    try:
        with path.open("rb") as stream:
            header = stream.read(8)
            size = stream.seek(0, 2)
    except FileNotFoundError:
        raise InputError(path, "no such file", "a WAV file") from None
    except OSError as error:
        raise InputError(path, error.strerror.lower(), "a WAV file") from None
    # libsndfile reads a cut file without a word, as a shorter one.
    if len(header) == 8 and header[:4] == b"RIFF":
        declared = struct.unpack("<I", header[4:])[0] + 8
        if size < declared:
            raise InputError(path, f"{size} bytes", f"{declared} as its header says (cut short)")
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise InputError(path, error.error_string.rstrip("."), "a WAV file") from None
    if info.frames == 0:
        raise InputError(path, "no samples", "audio")
    return Info(info.frames, info.samplerate, info.channels)


def expect(path: Path, **expected: int) -> Info:
    """Inspects a file and compares the named properties of `Info`.

    Raises:
        InputError: as `inspect`, or a property that differs.
    """
    info = inspect(path)
    units = {"samples": "samples", "sample_rate": "Hz", "channels": "channels"}
    for name, value in expected.items():
        if getattr(info, name) != value:
            raise InputError(path, f"{getattr(info, name)} {units[name]}", f"{value}")
    return info


def pcm16(samples: np.ndarray, sample_rate: int) -> bytes:
    """A 16-bit WAV file of `samples` (samples,) or (samples, channels): 2^15·x rounded, cut off at
    the largest 16-bit values."""
    scaled = np.clip(np.rint(samples * 2**15), -(2**15), 2**15 - 1)
    content = io.BytesIO()
    soundfile.write(content, scaled.astype(np.int16), sample_rate, subtype="PCM_16", format="WAV")
    return content.getvalue()


def write_pcm16(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Writes what `pcm16` makes of `samples`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as stream:
        stream.write(pcm16(samples, sample_rate))
