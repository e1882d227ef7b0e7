"""32-bit float WAV files that depend on nothing but their samples.

libsndfile writes the time of day into the PEAK chunk of a float file, so that the same estimate has
a different checksum each time.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from contract.errors import naming
from contract.files import write_all

IEEE_FLOAT = 3
HEADER = "<4sI4s 4sIHHIIHHH 4sII 4sI"


class FloatWav:
    """A float WAV file of known length that is written piece by piece.

    Args:
        path: the file.
        sample_rate: in Hz.
        channels: the number of channels.
        frames: the samples of each channel that will be written.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int, frames: int) -> None:
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
        """Appends samples.

        Args:
            samples: (samples, channels).
        """
        with naming(self._path):
            write_all(self._file, np.ascontiguousarray(samples, dtype="<f4").tobytes())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
