"""Spectrograms and their codes against those of Spleeter."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from spleeter.audio.convertor import db_uint_spectrogram_to_gain, spectrogram_to_db_uint
from spleeter.audio.spectrogram import compute_spectrogram_tf

from spleeter_mod.spectrogram import decode, encode, magnitudes
from tests.conftest import TEST_DATA


@pytest.fixture(scope="module")
def waveform():
    (song,) = (TEST_DATA / "data" / "music" / "test").iterdir()
    return soundfile.read(song / "mixture.wav", dtype="float32")[0]


def test_magnitudes(waveform):
    expected = compute_spectrogram_tf(
        tf.constant(waveform),
        frame_length=4096,
        frame_step=1024,
        spec_exponent=1.0,
        window_exponent=1.0,
    ).numpy()
    actual = magnitudes(waveform, 4096, 1024, bins=1024, at_least=len(expected))
    assert actual.shape == (*expected.shape[:1], 1024, 2)
    np.testing.assert_allclose(actual, expected[:, :1024], atol=1e-5 * expected.max())
    longer = magnitudes(waveform, 4096, 1024, bins=1024, at_least=len(expected) + 9)
    np.testing.assert_array_equal(longer[: len(actual)], actual)
    assert not longer[-4:].any()  # silence


def encoded(spectrogram):
    codes = np.empty(spectrogram.shape, np.uint8)
    return codes, *encode(spectrogram.copy("K"), codes)


def test_codes(waveform):
    spectrogram = magnitudes(waveform, 4096, 1024, bins=1024, at_least=1)
    expected = spectrogram_to_db_uint(
        tf.constant(spectrogram), tensor_key="codes", min_key="lowest", max_key="highest"
    )
    codes, *levels = encoded(spectrogram)
    assert (codes.min(), codes.max()) == (0, 255)
    assert levels == pytest.approx([expected["lowest"], expected["highest"]], abs=1e-4)
    difference = np.abs(codes.astype(int) - expected["codes"].numpy())
    assert difference.max() <= 1
    assert difference.mean() < 1e-3
    actual = np.empty(codes.shape, np.float32)
    decode(codes, *levels, actual)
    np.testing.assert_allclose(actual, db_uint_spectrogram_to_gain(codes, *levels), rtol=1e-4)
    loud = spectrogram > spectrogram.max() * 1e-4
    ratio = 20 * np.log10(actual[loud] / spectrogram[loud])
    assert np.abs(ratio).max() < 0.4


def test_silence_can_be_encoded():
    codes, lowest, highest = encoded(np.zeros((3, 4, 2), np.float32))
    assert not codes.any()
    assert lowest == highest == pytest.approx(-180)
    actual = np.empty(codes.shape, np.float32)
    decode(codes, lowest, highest, actual)
    np.testing.assert_allclose(actual, 1e-9, rtol=1e-4)
