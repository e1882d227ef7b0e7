"""SDR on real voices, compared with museval's BSS Eval 3."""

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from metrics.core.sdr import sdr


@pytest.fixture
def voices(workspace):
    """Three different voices, `(speakers, samples)`, float64."""
    folder = workspace.root / "data/speech/mixtures/wav8k/min"
    files = sorted(folder.glob("tr/s[12]/*.wav"))[:3]
    return np.stack([soundfile.read(path, frames=16000)[0] for path in files])


def test_equals_bss_eval_3(voices):
    from museval.metrics import bss_eval

    mixture = voices.sum(axis=0)
    estimates = 3 * voices + 0.2 * mixture + 0.1 * np.roll(voices[::-1], 40, axis=1)
    expected, *_ = bss_eval(
        voices[:, :, None],
        estimates[:, :, None],
        window=np.inf,
        hop=np.inf,
        bsseval_sources_version=True,
    )
    scores = [
        sdr(voice, estimate[None])[0] for voice, estimate in zip(voices, estimates, strict=True)
    ]
    np.testing.assert_allclose(scores, expected[:, 0], atol=1e-6)


def test_filtering_the_reference_is_no_distortion_and_noise_counts_at_its_level(voices):
    filtered = lfilter([-0.3, 0, 0.1], 1, np.pad(voices[0], (0, 2)))
    reference = np.pad(voices[0], (0, 2))
    assert sdr(reference, filtered[None])[0] > 100
    noise = np.random.default_rng(0).normal(size=filtered.size)
    noise *= np.linalg.norm(filtered) / np.linalg.norm(noise) / 10  # at 20 dB
    # A filter of 512 taps makes 512 of the 16002 dimensions of any noise its own: 0.14 dB.
    assert sdr(reference, (filtered + noise)[None])[0] == pytest.approx(20, abs=0.3)


def test_several_estimates_have_the_scores_that_each_has_alone(voices):
    estimates = voices[1:] + voices[0]
    expected = [sdr(voices[0], estimate[None])[0] for estimate in estimates]
    np.testing.assert_allclose(sdr(voices[0], estimates), expected, atol=1e-9)


def test_silence_has_no_finite_score(voices):
    assert np.isnan(sdr(np.zeros(16000), voices)).all()
    broken = voices[1].copy()
    broken[7] = np.nan
    scores = sdr(voices[0], np.stack([np.zeros(16000), broken, voices[0] + voices[1]]))
    assert scores[0] == scores[1] == -np.inf
    assert np.isfinite(scores[2])


def test_a_reference_of_one_tone_has_a_score(voices):
    """Its equations have many solutions."""
    tone = np.sin(2 * np.pi * np.arange(16000) / 8)
    assert sdr(tone, (0.5 * tone + 0.001 * voices[0])[None])[0] > 20
    assert sdr(np.ones(16000), voices[:1])[0] < 20
