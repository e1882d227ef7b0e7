"""Spleeter's spectrograms, and the bytes it stores them as. In NumPy and SciPy, because TensorFlow
takes many times as long for them on a CPU."""

import numpy as np
import scipy.fft
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view

FRAMES_AT_ONCE = 64  # what a processor's cache holds

# Spleeter's own numbers (`spleeter.audio.convertor`, `spleeter.utils.tensor`).
SILENCE = np.float32(10e-10)
DECIBELS = np.float32(100)  # what the codes span
LAST_CODE = np.float32(255.9999)
PER_NEPER = np.float32(20 / np.log(10))  # dB


def frame_count(samples: int, frame_length: int, frame_step: int, at_least: int) -> int:
    """How many frames `magnitudes` makes of `samples` samples."""
    return max((samples - frame_length) // frame_step + 1, at_least)


def magnitudes(
    waveform: np.ndarray, frame_length: int, frame_step: int, bins: int, at_least: int
) -> np.ndarray:
    """The magnitudes of the STFT with a periodic Hann window.

    Args:
        waveform: (samples, channels).
        frame_length: samples.
        frame_step: samples.
        bins: how many frequencies to keep, from the lowest.
        at_least: frames; a shorter waveform is followed by silence.

    Returns:
        (frames, bins, channels), 32-bit floats.
    """
    needed = (at_least - 1) * frame_step + frame_length
    if len(waveform) < needed:
        waveform = np.pad(waveform, ((0, needed - len(waveform)), (0, 0)))
    window = scipy.signal.get_window("hann", frame_length).astype(np.float32)
    frames = sliding_window_view(waveform, frame_length, axis=0)[::frame_step]
    # Channel by channel in memory, too: NumPy is slow to write every other number.
    spectrogram = np.empty((waveform.shape[1], len(frames), bins), np.float32)
    for channel, magnitude in enumerate(spectrogram):
        for first in range(0, len(frames), FRAMES_AT_ONCE):
            block = slice(first, first + FRAMES_AT_ONCE)
            spectrum = scipy.fft.rfft(frames[block, channel] * window)
            np.abs(spectrum[:, :bins], out=magnitude[block])
    return np.moveaxis(spectrogram, 0, -1)


def encode(spectrogram: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """Linear in decibels, from the maximum down to the minimum, or to 100 dB below.

    Args:
        spectrogram: (frames, bins, channels), 32-bit floats; they are overwritten.
        codes: (frames, bins, channels), unsigned bytes, to write to.

    Returns:
        The lowest and the highest level, in dB.
    """
    np.maximum(spectrogram, SILENCE, out=spectrogram)
    levels = np.log(spectrogram, out=spectrogram)
    levels *= PER_NEPER
    highest = levels.max()
    np.maximum(levels, highest - DECIBELS, out=levels)
    lowest = levels.min()
    levels -= lowest
    levels *= LAST_CODE / (highest - lowest + np.float32(1e-16))
    for channel in range(codes.shape[-1]):  # as `magnitudes` lays them out
        np.copyto(codes[..., channel], levels[..., channel], casting="unsafe")
    return float(lowest), float(highest)


def decode(codes: np.ndarray, lowest: float, highest: float, spectrogram: np.ndarray) -> None:
    """What `encode` was given, to within 0.4 dB.

    Args:
        codes: unsigned bytes.
        lowest: level, in dB.
        highest: level, in dB.
        spectrogram: 32-bit floats in the codes' shape, to write to.
    """
    step = np.float32((highest - lowest) / LAST_CODE / PER_NEPER)
    np.multiply(codes, step, out=spectrogram)
    spectrogram += np.float32(lowest / PER_NEPER)
    np.exp(spectrogram, out=spectrogram)
