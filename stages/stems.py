"""STEMS files: a song and its stems as the streams of one MP4, as MUSDB18 has them."""

from pathlib import Path

import numpy as np

from metrics.errors import InputError
from stages.audio import write_pcm16

# The order of the streams in a STEMS file: https://www.native-instruments.com/en/specials/stems
STREAMS = ("mixture", "drums", "bass", "other", "vocals")


def decode(path: Path, sample_rate: int) -> np.ndarray:
    """All streams of a STEMS file, of shape (sources, samples, channels), within ±1.

    Raises:
        InputError: not a STEMS file, cut short, or of another sample rate (Hz).
    """
    import stempeg  # refuses to import without ffmpeg, so not before it is needed

    expected = f"{len(STREAMS)} stereo streams of equal length, as MUSDB18 has them"
    try:
        stems, found = stempeg.read_stems(str(path), stem_id=None)
    # Warning is what it raises for all that ffprobe refuses, AttributeError for unequal lengths.
    except (Warning, RuntimeError, AttributeError, ValueError):
        raise InputError(path, "other content", expected) from None
    if stems.ndim != 3 or stems.shape[0] != len(STREAMS) or not stems.size:
        raise InputError(path, f"streams of shape {stems.shape}", expected)
    if found != sample_rate:
        raise InputError(path, f"{found} Hz", f"{sample_rate}, music.sample_rate")
    return stems


def write_song(folder: Path, stems: np.ndarray, sample_rate: int) -> None:
    """Writes decoded streams as `folder`/{mixture,vocals,drums,bass,other}.wav."""
    for name, samples in zip(STREAMS, stems, strict=True):
        write_pcm16(folder / f"{name}.wav", samples, sample_rate)
