"""BSS Eval on real stems, against museval called directly."""

import numpy as np
import pytest
import soundfile

from metrics.bsseval import bss_eval

RATE = 44100


@pytest.fixture
def stems(workspace):
    """References and estimates `(2 sources, 1.5 s, 2 channels)`."""
    folder = next((workspace.root / "data/music/test").iterdir())
    vocals, drums = (
        soundfile.read(folder / f"{name}.wav", frames=3 * RATE // 2)[0]
        for name in ("vocals", "drums")
    )
    mixture = vocals + drums
    references = np.stack([vocals, drums])
    return references, references + 0.2 * mixture[None] + 0.05 * references[:, :, ::-1]


def museval_scores(references, estimates, window, hop):
    from museval.metrics import bss_eval as museval_bss_eval

    return museval_bss_eval(references, estimates, window=window, hop=hop)[:4]


def test_equals_museval_window_by_window(stems):
    ours = bss_eval(*stems, RATE, window_seconds=0.5, hop_seconds=0.25)
    theirs = museval_scores(*stems, window=22050, hop=11025)
    assert ours.SDR.shape == (2, 5)
    for name, expected in zip(("SDR", "ISR", "SIR", "SAR"), theirs, strict=True):
        np.testing.assert_array_equal(getattr(ours, name), expected)
        assert np.isfinite(expected).all()


def test_silent_window_is_nan_for_all_sources_and_only_there(stems):
    references, estimates = (signals[:, :, :1].copy() for signals in stems)
    references[1, RATE // 2 : RATE] = 0
    ours = bss_eval(references, estimates, RATE, 0.5, 0.5)
    theirs = museval_scores(references, estimates, RATE // 2, RATE // 2)
    for values, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(np.isnan(values), [[False, True, False]] * 2)
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("silent", ["reference", "estimate"])
def test_source_silent_throughout_makes_every_window_nan(stems, silent):
    references, estimates = (signals.copy() for signals in stems)
    (references if silent == "reference" else estimates)[0] = 0
    scores = bss_eval(references, estimates, RATE, 0.5, 0.5)
    for values in scores:
        assert values.shape == (2, 3)
        assert np.isnan(values).all()


def test_window_longer_than_the_signal_is_the_whole_signal(stems):
    references, estimates = (signals[:, :, :1] for signals in stems)
    ours = bss_eval(references, estimates, RATE, 60.0, 60.0)
    theirs = museval_scores(references, estimates, np.inf, np.inf)
    for values, expected in zip(ours, theirs, strict=True):
        assert values.shape == (2, 1)
        np.testing.assert_array_equal(values, expected)


def test_nonfinite_estimate_loses_its_own_scores_only(stems):
    references, estimates = (signals[:, :, :1].copy() for signals in stems)
    estimates[0, 100] = np.nan
    scores = bss_eval(references, estimates, RATE, 1.0, 1.0)
    assert np.isnan(scores.SDR[0]).all()
    assert np.isfinite(scores.SDR[1]).all()
