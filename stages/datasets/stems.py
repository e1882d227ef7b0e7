"""STEMS files: a song and its stems as the streams of one MP4, as MUSDB18 has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contract.errors import InputError
from stages.datasets.audio import ANOTHER_COPY, write_pcm16

# The order of the streams in a STEMS file: https://www.native-instruments.com/en/specials/stems
STREAMS = ("mixture", "drums", "bass", "other", "vocals")
SUFFIX = ".stem.mp4"


def decode(path: Path, sample_rate: int) -> np.ndarray:
    """Decodes all streams of a STEMS file.

    Args:
        path: the file.
        sample_rate: the one that the file must have, in Hz.

    Returns:
        The streams in the order of `STREAMS`, (streams, samples, channels), within ±1.

    Raises:
        InputError: the file is not a STEMS file, is cut short, or has another sample rate.
    """
    import stempeg  # it refuses to be imported without ffmpeg, which only STEMS files need

    bad_file = InputError(
        path, f"is not a STEMS file of {len(STREAMS)} stereo streams of equal length", ANOTHER_COPY
    )
    try:
        streams, file_sample_rate = stempeg.read_stems(str(path), stem_id=None)
    # stempeg raises Warning for what ffprobe refuses, and AttributeError for unequal lengths.
    except (Warning, RuntimeError, AttributeError, ValueError):
        raise bad_file from None
    if streams.ndim != 3 or streams.shape[0] != len(STREAMS) or not streams.size:
        raise bad_file
    if file_sample_rate != sample_rate:
        raise InputError.mismatch(
            path, f"{file_sample_rate} Hz", f"{sample_rate} Hz, the value of music.sample_rate"
        )
    return streams


def write_song(folder: Path, streams: np.ndarray, sample_rate: int) -> None:
    """Writes decoded streams as `folder`/{mixture,vocals,drums,bass,other}.wav.

    Args:
        folder: the song's folder; it is made if it is not there.
        streams: (streams, samples, channels), as `decode` returns them.
        sample_rate: in Hz.
    """
    for name, samples in zip(STREAMS, streams, strict=True):
        write_pcm16(folder / f"{name}.wav", samples, sample_rate)
