"""32-bit float WAV files that depend on nothing but their samples.

libsndfile writes the time of day into a float file's PEAK chunk, so that the same estimate never
has the same checksum twice.
"""

import struct
from pathlib import Path

import numpy as np

from spleeter_mod.errors import naming
from spleeter_mod.files import write_all

IEEE_FLOAT = 3
HEADER = "<4sI4s 4sIHHIIHHH 4sII 4sI"


class FloatWav:
    """A float WAV file of known length, written piece by piece."""

    def __init__(self, path: Path, sample_rate: int, channels: int, frames: int):
        """
        Args:
            path: the file to make.
            sample_rate: in Hz.
            channels: how many.
            frames: samples of each channel that will be written.
        """
        self._path = path
        frame_bytes = 4 * channels
        data_bytes = frames * frame_bytes
        format_chunk = (b"fmt ", 18, IEEE_FLOAT, channels, sample_rate)
        format_chunk += (sample_rate * frame_bytes, frame_bytes, 32, 0)
        riff_bytes = struct.calcsize(HEADER) - 8 + data_bytes
        chunks = (b"RIFF", riff_bytes, b"WAVE", *format_chunk)
        chunks += (b"fact", 4, frames, b"data", data_bytes)
        with naming(path):
            self._file = path.open("wb", buffering=0)
            write_all(self._file, struct.pack(HEADER, *chunks))

    def write(self, samples: np.ndarray) -> None:
        """Append `samples`, (samples, channels)."""
        with naming(self._path):
            write_all(self._file, np.ascontiguousarray(samples, dtype="<f4").tobytes())

    def close(self) -> None:
        self._file.close()
