"""Spectrograms of what the page plays, as small images inside it."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from plotly.colors import sequential, unlabel_rgb, validate_colors
from scipy.signal import ShortTimeFFT

WIDTH, HEIGHT = 320, 96  # pixels
WINDOW_SECONDS = 0.046
RANGE = 80.0  # dB below the loudest point that are shown
CAPTION = (
    "Spectrograms: time runs to the right, frequency upwards on the mel scale to {top:g} kHz; "
    f"black is {RANGE:g} dB or more below the loudest moment of the mixture."
)


def loudest(samples: np.ndarray, sample_rate: int) -> float:
    """Returns the largest power in a spectrogram.

    Args:
        samples: `(samples, channels)`.
        sample_rate: Hz.
    """
    return float(_power(samples, sample_rate).max(initial=0.0))


def image(samples: np.ndarray, sample_rate: int, reference: float) -> str:
    """Returns a spectrogram as the base64 of a PNG, in which channels count by their mean power.

    Args:
        samples: `(samples, channels)`.
        sample_rate: Hz.
        reference: the power that is brightest, as `loudest` returns it for the mixture.
    """
    power = _power(samples, sample_rate)
    frequencies = np.linspace(0, sample_rate / 2, power.shape[0])
    # A pixel shows the largest power that falls on it, so that nothing short or narrow is lost.
    rows = _pixels(_mel(frequencies) / _mel(sample_rate / 2), HEIGHT)
    columns = _pixels(np.linspace(0, 1, power.shape[1]), WIDTH)
    pixels = np.zeros((HEIGHT, WIDTH))
    np.maximum.at(pixels, (rows[:, None], columns[None, :]), power)
    pixels = _filled(_filled(pixels, np.unique(rows)).T, np.unique(columns)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        silence = np.full(pixels.shape, -np.inf)
        level = 10 * np.log10(pixels / reference) if reference > 0 else silence
    shades = np.clip(np.nan_to_num(1 + level / RANGE, nan=0.0, neginf=0.0), 0, 1)
    picture = Image.fromarray(np.round(255 * shades[::-1]).astype(np.uint8), mode="P")
    picture.putpalette(_palette())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _power(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns the mean power over the channels: `(samples, channels)` → `(frequencies, frames)`."""
    size = 2 ** round(np.log2(WINDOW_SECONDS * sample_rate))
    transform = ShortTimeFFT.from_window(
        "hann", sample_rate, nperseg=size, noverlap=size * 3 // 4, fft_mode="onesided"
    )
    padded = np.pad(samples, ((0, max(0, size - len(samples))), (0, 0)))
    return np.mean([transform.spectrogram(channel) for channel in padded.T], axis=0)


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    """Returns frequencies on the mel scale: 2595 log10(1 + f / 700).

    Source: O'Shaughnessy, "Speech Communication: Human and Machine", 1987.
    """
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def _pixels(positions: np.ndarray, count: int) -> np.ndarray:
    """Returns which of `count` pixels each position, from 0 to 1, falls on."""
    return np.minimum((positions * count).astype(int), count - 1)


def _filled(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fills each row on which nothing fell with the nearest known row of a lower index.

    Args:
        pixels: `(rows, columns)`.
        known: the rows on which something fell, in increasing order.
    """
    below = known[np.searchsorted(known, np.arange(len(pixels)), side="right") - 1]
    return pixels[below]


def _palette() -> list[int]:
    """Returns 256 shades of plotly's Magma, whose brightness rises evenly."""
    stops = np.array([unlabel_rgb(stop) for stop in validate_colors(sequential.Magma, "rgb")])
    positions = np.linspace(0, len(stops) - 1, 256)
    shades = [
        np.interp(positions, np.arange(len(stops)), stops[:, channel]) for channel in range(3)
    ]
    return np.round(np.stack(shades, axis=1)).astype(int).ravel().tolist()
