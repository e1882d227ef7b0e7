"""The scores of speakers that the pipeline computes, against torchmetrics.

This test is here because torchmetrics needs the torch of this environment.
"""

import numpy as np
import pytest
import soundfile
import torch
from torchmetrics.functional.audio import (
    permutation_invariant_training,
    scale_invariant_signal_noise_ratio,
    signal_distortion_ratio,
)

from metrics.core.sdr import sdr
from metrics.core.si_snr import score_speakers, si_snr

PRECISION = 1e-5  # dB


@pytest.fixture
def voices(workspace):
    """Five different voices, (5, 16000), float64."""
    folder = workspace.root / "data/speech/mixtures/wav8k/min"
    files = sorted(folder.glob("tr/s[12]/*.wav"))[:5]
    return np.stack([soundfile.read(path, frames=16000)[0] for path in files])


def estimates_of(voices, level):
    rng = np.random.default_rng(0)
    return voices + level * voices.sum(axis=0) + level * 0.05 * rng.normal(size=voices.shape) + 0.01


@pytest.mark.parametrize("level", [1e-3, 0.1, 3.0])
def test_si_snr(voices, level):
    estimates = estimates_of(voices, level)
    expected = scale_invariant_signal_noise_ratio(
        torch.from_numpy(estimates), torch.from_numpy(voices)
    )
    np.testing.assert_allclose(si_snr(voices, estimates), expected, rtol=0, atol=PRECISION)


@pytest.mark.parametrize("level", [1e-3, 0.1, 3.0])
def test_sdr(voices, level):
    estimates = estimates_of(voices, level)
    for voice, estimate in zip(voices, estimates, strict=True):
        expected = signal_distortion_ratio(torch.from_numpy(estimate), torch.from_numpy(voice))
        assert sdr(voice, estimate[None])[0] == pytest.approx(expected.item(), abs=PRECISION)


@pytest.mark.parametrize("speakers", [2, 3, 5])
def test_best_permutation(voices, speakers):
    voices = voices[:speakers]
    shuffled = np.random.default_rng(speakers).permutation(speakers)
    estimates = estimates_of(voices, 0.5)[shuffled]
    best, order = permutation_invariant_training(
        torch.from_numpy(estimates)[None],
        torch.from_numpy(voices)[None],
        scale_invariant_signal_noise_ratio,
        mode="speaker-wise",
        eval_func="max",
    )
    scores = score_speakers(voices, estimates, voices.sum(axis=0))
    assert list(scores.order) == order[0].tolist()
    assert scores.si_snr.mean() == pytest.approx(best.item(), abs=PRECISION)
