"""Spleeter's interface to audio files, by libsndfile instead of an ffmpeg process per chunk."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import soundfile
from spleeter import SpleeterError
from spleeter.audio import Codec
from spleeter.audio.adapter import AudioAdapter

from contract.wav import FloatWav


class SoundfileAudioAdapter(AudioAdapter):
    """Reads any part of a file that libsndfile supports, and writes 32-bit float WAV."""

    def load(
        self,
        audio_descriptor: str | bytes | os.PathLike,
        offset: float | None = None,
        duration: float | None = None,
        sample_rate: float | None = None,
        dtype: bytes = b"float32",
    ) -> tuple[np.ndarray, float]:
        """Reads `duration` seconds from `offset` on, or as much of that as there is.

        Args:
            audio_descriptor: the file.
            offset: in seconds; None is the start.
            duration: in seconds; None is all the rest.
            sample_rate: in Hz; a file with another sample rate is resampled. None keeps that of the
                file.
            dtype: the type of the samples.

        Returns:
            The waveform, (samples, channels), and its sample rate, in Hz.

        Raises:
            SpleeterError: the file cannot be read.
        """
        path = os.fsdecode(audio_descriptor)
        try:
            with soundfile.SoundFile(path) as file:
                span = part(file.frames, file.samplerate, offset, duration)
                file.seek(span.start)
                waveform = file.read(len(span), dtype="float32", always_2d=True)
                file_rate = file.samplerate
        except (soundfile.SoundFileError, OSError) as error:
            problem = f"cannot be read ({error})"
            raise SpleeterError(f"{path}: {problem}; replace it with a WAV file") from error
        if sample_rate is not None and sample_rate != file_rate:
            from scipy.signal import resample_poly

            waveform = resample_poly(waveform, int(sample_rate), file_rate, axis=0)
            file_rate = sample_rate
        return waveform.astype(np.dtype(dtype.decode()), copy=False), file_rate

    def save(
        self,
        path: str | os.PathLike,
        data: np.ndarray,
        sample_rate: float,
        codec: Codec | None = None,
        bitrate: str | None = None,
    ) -> None:
        """Writes a file of 32-bit float WAV.

        Args:
            path: the file.
            data: the waveform, (samples, channels).
            sample_rate: in Hz.
            codec: WAV, or None for the same.
            bitrate: is not used; other codecs of Spleeter have one.

        Raises:
            SpleeterError: the codec is not WAV.
        """
        if codec not in (None, Codec.WAV):
            raise SpleeterError(
                f"{path}: cannot be written as {codec}; choose the codec {Codec.WAV}"
            )
        frames, channels = data.shape
        with closing(FloatWav(Path(path), int(sample_rate), channels, frames)) as file:
            file.write(data.astype("<f4").tobytes())


def part(frames: int, rate: float, offset: float | None, duration: float | None) -> range:
    """Returns the samples of a part of a file, as a range of their numbers.

    Args:
        frames: the samples of each channel in the file.
        rate: the sample rate of the file, in Hz.
        offset: where the part begins, in seconds; None is the start.
        duration: the length of the part, in seconds, unless the file ends before; None is all.
    """
    start = min(round((offset or 0.0) * rate), frames)
    return range(start, frames if duration is None else min(start + round(duration * rate), frames))
