"""Spleeter's spectrograms, and their codes of one byte in its cache.

They are computed in NumPy and SciPy, because TensorFlow takes many times as long on a CPU.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view

FRAMES_AT_ONCE = 64  # how many frames fit in the cache of a processor

# Constants of Spleeter (`spleeter.audio.convertor`, `spleeter.utils.tensor`).
SILENCE = np.float32(10e-10)  # the smallest magnitude
DECIBELS = np.float32(100)  # the range of the codes
LAST_CODE = np.float32(255.9999)
PER_NEPER = np.float32(20 / np.log(10))  # dB


def magnitudes(
    waveform: np.ndarray, frame_length: int, frame_step: int, bins: int, at_least: int
) -> np.ndarray:
    """Computes the magnitudes of the STFT with a periodic Hann window.

    Args:
        waveform: (samples, channels), float32.
        frame_length: in samples.
        frame_step: in samples.
        bins: the number of frequencies to keep, from the lowest.
        at_least: the smallest number of frames, for which a shorter waveform is padded with zeros.

    Returns:
        The magnitudes, (frames, bins, channels), float32.
    """
    needed = (at_least - 1) * frame_step + frame_length
    if len(waveform) < needed:
        waveform = np.pad(waveform, ((0, needed - len(waveform)), (0, 0)))
    window = scipy.signal.get_window("hann", frame_length).astype(np.float32)
    frames = sliding_window_view(waveform, frame_length, axis=0)[::frame_step]
    # The channel is the first axis in memory, because NumPy is slow to write every other number.
    spectrogram = np.empty((waveform.shape[1], len(frames), bins), np.float32)
    for channel, magnitude in enumerate(spectrogram):
        for first in range(0, len(frames), FRAMES_AT_ONCE):
            block = slice(first, first + FRAMES_AT_ONCE)
            spectrum = scipy.fft.rfft(frames[block, channel] * window)
            np.abs(spectrum[:, :bins], out=magnitude[block])
    return np.moveaxis(spectrogram, 0, -1)


def encode(spectrogram: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """Encodes magnitudes in one byte each, as Spleeter does.

    The codes are linear in decibels, from the highest level down to the lowest one, or to 100 dB
    below the highest.

    Args:
        spectrogram: the magnitudes, (frames, bins, channels), float32; they are overwritten.
        codes: receives the codes, (frames, bins, channels), uint8.

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
    for channel in range(codes.shape[-1]):  # in the order of memory, see `magnitudes`
        np.copyto(codes[..., channel], levels[..., channel], casting="unsafe")
    return float(lowest), float(highest)


def decode(codes: np.ndarray, lowest: float, highest: float, spectrogram: np.ndarray) -> None:
    """Decodes magnitudes that `encode` has encoded, to within 0.4 dB.

    Args:
        codes: uint8, of any shape.
        lowest: the lowest level, in dB.
        highest: the highest level, in dB.
        spectrogram: receives the magnitudes, in the shape of the codes, float32.
    """
    step = np.float32((highest - lowest) / LAST_CODE / PER_NEPER)
    np.multiply(codes, step, out=spectrogram)
    spectrogram += np.float32(lowest / PER_NEPER)
    np.exp(spectrogram, out=spectrogram)
