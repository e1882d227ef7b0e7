"""WAV files of 32-bit floats that depend on nothing but their samples.

libsndfile writes the time of day into the PEAK chunk of a float file, so that the same estimate has
a different checksum each time.
"""

from __future__ import annotations

import struct
from pathlib import Path

from contract.errors import InputError, naming
from contract.files import write_all

IEEE_FLOAT = 3
SAMPLE_BYTES = 4
HEADER = "<4sI4s 4sIHHIIHHH 4sII 4sI"
LARGEST_SIZE = 2**32 - 1  # bytes: the largest size that the header has room for


class FloatWav:
    """A file of known length that is written piece by piece.

    Args:
        path: the file.
        sample_rate: in Hz.
        channels: the number of channels.
        frames: the samples of each channel that will be written.

    Raises:
        InputError: WAV has no room for so many samples.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int, frames: int) -> None:
        self._path = path
        header = _header(path, sample_rate, channels, frames)
        with naming(path):
            self._file = path.open("wb", buffering=0)
            write_all(self._file, header)

    def write(self, samples: bytes) -> None:
        """Appends samples.

        Args:
            samples: (samples, channels) in the order of memory, float32, the lowest byte first.
        """
        with naming(self._path):
            write_all(self._file, samples)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def float_wav(path: Path, samples: bytes, sample_rate: int, channels: int) -> bytes:
    """Returns the content of a whole file.

    Args:
        path: the file, which an error names.
        samples: (samples, channels) in the order of memory, float32, the lowest byte first.
        sample_rate: in Hz.
        channels: the number of channels.

    Raises:
        InputError: WAV has no room for so many samples.
    """
    frames = len(samples) // (channels * SAMPLE_BYTES)
    return _header(path, sample_rate, channels, frames) + samples


def _header(path: Path, sample_rate: int, channels: int, frames: int) -> bytes:
    """Returns all that stands before the samples."""
    frame_bytes = channels * SAMPLE_BYTES
    data_bytes = frames * frame_bytes
    riff_bytes = struct.calcsize(HEADER) - 8 + data_bytes
    if riff_bytes > LARGEST_SIZE:
        problem = f"an estimate of {data_bytes} bytes exceeds the 4 GiB that a WAV file can hold"
        raise InputError(path, problem, "cut the recording into parts")
    format_chunk = (b"fmt ", 18, IEEE_FLOAT, channels, sample_rate)
    format_chunk += (sample_rate * frame_bytes, frame_bytes, 8 * SAMPLE_BYTES, 0)
    chunks = (b"RIFF", riff_bytes, b"WAVE", *format_chunk)
    chunks += (b"fact", 4, frames, b"data", data_bytes)
    return struct.pack(HEADER, *chunks)
