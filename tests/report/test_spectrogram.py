"""Spectrograms of signals whose time and frequency are known."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from report import spectrogram

RATE = 8000


def levels(samples, reference=None):
    """The shades of the image, 0 to 255, `(rows, columns)`, the lowest frequency first."""
    reference = spectrogram.loudest(samples, RATE) if reference is None else reference
    encoded = spectrogram.image(samples, RATE, reference)
    picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert picture.size == (spectrogram.WIDTH, spectrogram.HEIGHT)
    return np.asarray(picture)[::-1]


def tone(frequency, seconds=2.0, start=0.0):
    """A sine that begins at `start`, `(samples, channels)` with one channel."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (np.sin(2 * np.pi * frequency * time) * (time >= start))[:, None]


def mel(frequency):
    return 2595 * np.log10(1 + frequency / 700)


@pytest.mark.parametrize("frequency", [300, 1000, 3000])
def test_a_tone_is_a_line_at_its_frequency(frequency):
    shades = levels(tone(frequency))
    row = mel(frequency) / mel(RATE / 2) * spectrogram.HEIGHT
    middle = shades[:, spectrogram.WIDTH // 2]
    assert abs(middle.argmax() - row) <= 2
    assert middle.max() == 255 and np.median(middle) < 100


def test_time_runs_to_the_right():
    shades = levels(tone(1000, start=1.0)).max(axis=0)
    half = spectrogram.WIDTH // 2
    assert shades[: half - 10].max() == 0
    assert shades[half + 10 : -10].min() > 200


def test_shades_are_decibels_below_the_reference():
    sound = tone(1000)
    loudest = spectrogram.loudest(sound, RATE)
    shades = levels(0.01 * sound, loudest)  # 40 of 80 dB down
    assert abs(int(shades.max()) - 128) <= 2
    assert levels(1e-5 * sound, loudest).max() == 0


@pytest.mark.parametrize("shape", [(0, 1), (10, 2), (16000, 1)])
def test_silence_is_black_however_short(shape):
    assert levels(np.zeros(shape)).max() == 0


def test_channels_count_by_their_mean_power():
    mono = tone(1000)
    assert (levels(np.hstack([mono, -mono])) == levels(mono)).all()
