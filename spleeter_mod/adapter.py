"""Spleeter's audio seam, through libsndfile: no ffmpeg process per chunk."""

import os
from contextlib import closing
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from spleeter import SpleeterError
from spleeter.audio import Codec
from spleeter.audio.adapter import AudioAdapter

from spleeter_mod.wav import FloatWav


class SoundfileAudioAdapter(AudioAdapter):
    """Reads any part of a file that libsndfile knows, writes 32-bit float WAV."""

    def load(
        self,
        audio_descriptor,
        offset: float | None = None,
        duration: float | None = None,
        sample_rate: float | None = None,
        dtype: bytes = b"float32",
    ):
        """Read from `offset` for `duration` seconds, or as much of that as there is.

        Args:
            audio_descriptor: the file.
            offset: seconds; None is the start.
            duration: seconds; None is all the rest.
            sample_rate: in Hz; a file with another one is resampled.
            dtype: of the samples.

        Returns:
            The waveform, (samples, channels), and its sample rate.

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
            raise SpleeterError(f"{path} cannot be read: {error}") from error
        if sample_rate is not None and sample_rate != file_rate:
            waveform = _resample(waveform, file_rate, int(sample_rate))
            file_rate = sample_rate
        return waveform.astype(np.dtype(dtype.decode()), copy=False), file_rate

    def save(
        self,
        path,
        data: np.ndarray,
        sample_rate: float,
        codec: Codec | None = None,
        bitrate: str | None = None,
    ) -> None:
        """Write `data`, (samples, channels), as 32-bit float WAV.

        Raises:
            SpleeterError: another codec than WAV is asked for.
        """
        if codec not in (None, Codec.WAV):
            raise SpleeterError(f"{path}: found codec {codec}, expected {Codec.WAV}")
        frames, channels = data.shape
        with closing(FloatWav(Path(path), int(sample_rate), channels, frames)) as file:
            file.write(data)


def part(frames: int, rate: float, offset: float | None, duration: float | None) -> range:
    """The samples of a file that are read.

    Args:
        frames: how many samples the file has of each channel.
        rate: its sample rate, in Hz.
        offset: where to begin, in seconds; None is the start.
        duration: how much to read, in seconds, or as much of that as there is; None is all.
    """
    start = min(round((offset or 0.0) * rate), frames)
    return range(start, frames if duration is None else min(start + round(duration * rate), frames))


def _resample(waveform, old_rate, new_rate):
    from scipy.signal import resample_poly

    divisor = gcd(old_rate, new_rate)
    return resample_poly(waveform, new_rate // divisor, old_rate // divisor, axis=0)
