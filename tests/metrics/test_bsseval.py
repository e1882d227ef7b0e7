"""BSS Eval on real stems and on random shapes, compared with museval."""

import tracemalloc
import warnings
from unittest import mock

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.core import bsseval
from metrics.core.bsseval import bss_eval, bss_eval_samples
from tests.conftest import IN_CI

RATE = 44100


@pytest.fixture
def stems(workspace):
    """References, and estimates with leakage and noise, `(sources, samples, channels)`: two
    sources, 1.5 s, two channels."""
    folder = next((workspace.root / "data/music/test").iterdir())
    vocals, drums = (
        soundfile.read(folder / f"{name}.wav", frames=3 * RATE // 2)[0]
        for name in ("vocals", "drums")
    )
    mixture = vocals + drums
    references = np.stack([vocals, drums])
    noise = 1e-3 * np.random.default_rng(0).standard_normal(references.shape)
    return references, references + 0.2 * mixture + 0.05 * references[:, :, ::-1] + noise


@pytest.fixture
def mono(stems):
    """The first channel of `stems`."""
    return tuple(signals[:, :, :1].copy() for signals in stems)


def museval_scores(references, estimates, window, hop, taps=512):
    """SDR, ISR, SIR and SAR as museval computes them, each `(sources, windows)`."""
    from museval.metrics import bss_eval as museval_bss_eval

    with np.errstate(divide="ignore", invalid="ignore"):
        return museval_bss_eval(references, estimates, window=window, hop=hop, filters_len=taps)[:4]


def assert_same(scores, expected, tolerance=1e-6):
    """Asserts the same ratios within a tolerance in dB, NaN and infinite in the same places."""
    for name, values, expected_values in zip(scores._fields, scores, expected, strict=True):
        np.testing.assert_allclose(values, expected_values, rtol=0, atol=tolerance, err_msg=name)


def test_every_window_has_the_ratios_of_museval(stems):
    scores = bss_eval(*stems, RATE, window_seconds=0.5, hop_seconds=0.25)
    expected = museval_scores(*stems, window=22050, hop=11025)
    assert scores.SDR.shape == (2, 5)
    assert np.isfinite(expected).all()
    assert_same(scores, expected)


@pytest.mark.parametrize("dtype", ["f4", ">f4", ">f8", "f2", "g", "i2", "i4"])
@pytest.mark.parametrize("signals", ["mono", "stems"])
def test_samples_may_have_any_type(signals, dtype, request):
    signals = [(20000 * audio).astype(dtype) for audio in request.getfixturevalue(signals)]
    expected = bss_eval_samples(*(audio.astype(np.float64) for audio in signals), RATE, RATE)
    np.testing.assert_array_equal(bss_eval_samples(*signals, RATE, RATE), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_may_lie_in_memory_in_any_way(stems, dtype):
    signals = [audio.astype(dtype) for audio in stems]
    expected = bss_eval_samples(*signals, RATE, RATE)
    ways = {
        "channels first": lambda audio: audio.transpose(0, 2, 1).copy().transpose(0, 2, 1),
        "sources last": lambda audio: audio.transpose(1, 2, 0).copy().transpose(2, 0, 1),
        "two of four channels": lambda audio: np.repeat(audio, 2, axis=2)[..., ::2],
        "reversed": lambda audio: audio[:, :, ::-1].copy()[:, :, ::-1],
        "part of a record": lambda audio: audio.repeat(3, axis=1)[:, ::3],
    }
    for name, way in ways.items():
        for both in (True, False):
            laid = [way(signals[0]), way(signals[1]) if both else signals[1]]
            scores = bss_eval_samples(*laid, RATE, RATE)
            np.testing.assert_array_equal(scores, expected, err_msg=f"{name}, both: {both}")


@st.composite
def examples(draw):
    """References and estimates of noise with silent gaps, window, hop, taps, sizes of blocks."""
    sources, channels = draw(st.integers(2, 5)), draw(st.integers(1, 2))
    taps = draw(st.sampled_from([1, 2, 16, 48]))
    samples = draw(st.integers(2 * sources * channels * taps + 20, 3000))
    window, hop = draw(st.integers(1, samples + 10)), draw(st.integers(samples // 20, samples))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    level = 10.0 ** rng.uniform(-3, 3)
    references = level * rng.standard_normal((sources, samples, channels))
    estimates = references + np.roll(references, 3, axis=1) * 0.3 + references.sum(0) * 0.1
    estimates += 0.1 * level * rng.standard_normal(estimates.shape)
    for signals in (references, estimates):
        for _ in range(draw(st.integers(0, 2))):
            start, length = draw(st.integers(5, samples)), draw(st.integers(1, samples // 3))
            signals[draw(st.integers(0, sources - 1)), start : start + length] = 0
    blocks = {name: draw(st.integers(1, 5000)) for name in ("PIECE", "PART", "LISTENED")}
    blocks |= {name: taps + draw(st.integers(1, 400)) for name in ("TRANSFORM", "SHORT_TRANSFORM")}
    blocks["MEMORY"] = draw(st.sampled_from([0, np.inf]))
    return references, estimates, window, hop, taps, blocks


@settings(max_examples=150 if IN_CI else 15)
@given(examples())
def test_ratios_are_those_of_museval_whatever_the_shape(example):
    references, estimates, window, hop, taps, blocks = example
    with mock.patch.multiple(bsseval, **blocks):
        scores = bss_eval_samples(references, estimates, window, hop, taps=taps)
    expected = museval_scores(references, estimates, window, hop, taps)
    assert_same(scores, expected)


@pytest.mark.parametrize(
    ("sources", "channels", "samples", "window", "hop"),
    [(2, 2, 10000, 3000, 1000), (3, 1, 20000, 8000, 12001), (5, 1, 9000, 9000, 9000)],
)
def test_ratios_are_those_of_museval_with_all_taps(sources, channels, samples, window, hop):
    rng = np.random.default_rng(samples)
    references = rng.standard_normal((sources, samples, channels))
    estimates = references + 0.5 * rng.standard_normal(references.shape)
    scores = bss_eval_samples(references, estimates, window, hop)
    assert_same(scores, museval_scores(references, estimates, window, hop))


def test_a_silent_window_is_nan_for_all_sources_and_no_other_window_is(mono):
    references, estimates = mono
    references[1, RATE // 2 : RATE] = 0
    scores = bss_eval(references, estimates, RATE, 0.5, 0.5)
    for values in scores:
        np.testing.assert_array_equal(np.isnan(values), [[False, True, False]] * 2)
    assert_same(scores, museval_scores(references, estimates, RATE // 2, RATE // 2))


def test_channels_that_cancel_each_other_count_as_silent(stems):
    references, estimates = stems
    estimates[0, : RATE // 2, 1] = -estimates[0, : RATE // 2, 0]
    scores = bss_eval_samples(references, estimates, RATE // 2, RATE // 2)
    assert np.isnan(scores.SDR[:, 0]).all()
    assert_same(scores, museval_scores(references, estimates, RATE // 2, RATE // 2))


@pytest.mark.parametrize("silent", ["reference", "estimate"])
def test_a_source_that_is_silent_throughout_makes_every_window_nan(stems, silent):
    references, estimates = (signals.copy() for signals in stems)
    (references if silent == "reference" else estimates)[0] = 0
    scores = bss_eval(references, estimates, RATE, 0.5, 0.5)
    for values in scores:
        assert values.shape == (2, 3)
        assert np.isnan(values).all()


def test_a_window_longer_than_the_signal_is_the_whole_signal(mono):
    scores = bss_eval(*mono, RATE, 60.0, 60.0)
    expected = museval_scores(*mono, np.inf, np.inf)
    assert scores.SDR.shape == (2, 1)
    assert_same(scores, expected)


def test_what_is_left_after_the_last_whole_window_is_not_scored(mono):
    window, hop = RATE // 2, RATE // 3
    scores = bss_eval_samples(*mono, window, hop)
    shorter = (signals[:, : 3 * hop + window].copy() for signals in mono)
    assert scores.SDR.shape == (2, 4) == bss_eval_samples(*shorter, window, hop).SDR.shape
    assert_same(scores, museval_scores(*mono, window, hop))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nonfinite_estimate_loses_only_its_own_scores(mono, value):
    references, estimates = mono
    estimates[0, 100] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = bss_eval(references, estimates, RATE, 0.5, 0.5)
    for values in scores:
        assert np.isnan(values[0]).all()
        assert np.isfinite(values[1]).all()
    assert_same(scores, museval_scores(references, estimates, RATE // 2, RATE // 2))


def test_a_nonfinite_reference_leaves_no_score(mono):
    references, estimates = mono
    references[0, 100] = np.nan
    assert np.isnan(bss_eval(references, estimates, RATE, 0.5, 0.5)).all()


def silent_channel(references):
    references[0, :, 1] = 0


def equal_channels(references):
    references[:, :, 1] = references[:, :, 0]


def stem_twice(references):
    references[1] = references[0]


def stem_twice_at_another_level(references):
    references[1] = -0.3 * references[0]


@pytest.mark.parametrize(
    "spoil", [silent_channel, equal_channels, stem_twice, stem_twice_at_another_level]
)
def test_singular_equations_have_a_solution(stems, spoil):
    references, estimates = stems
    spoil(references)
    scores = bss_eval_samples(references, estimates, RATE, RATE // 4)
    expected = museval_scores(references, estimates, RATE, RATE // 4)
    assert np.isfinite(scores.SDR).all()
    np.testing.assert_allclose(scores.SDR, expected[0], rtol=0, atol=0.01)
    # Equal stems do not interfere with each other: their SIR is a ratio to rounding errors.
    compared = ("ISR", "SAR") if "stem" in spoil.__name__ else ("ISR", "SIR", "SAR")
    for name, ratios in zip(("ISR", "SIR", "SAR"), expected[1:], strict=True):
        if name in compared:
            np.testing.assert_allclose(getattr(scores, name), ratios, rtol=0, atol=0.01)


def test_fewer_samples_than_taps_have_scores(mono):
    references, estimates = (signals[:, 20000:20300] for signals in mono)
    scores = bss_eval_samples(references, estimates, 100, 100)
    expected = museval_scores(references, estimates, 100, 100)
    np.testing.assert_allclose(scores.SDR, expected[0], rtol=0, atol=0.01)
    assert np.isfinite(scores.ISR).all()


def test_a_perfect_estimate_has_an_infinite_sdr(mono):
    references, _ = mono
    scores = bss_eval_samples(references, references, RATE, RATE)
    assert (np.inf == scores.SDR).all()
    for values in scores[1:]:
        assert (values > 100).all()


def test_one_source_has_no_interference(mono):
    scores = bss_eval_samples(*(signals[:1] for signals in mono), RATE, RATE)
    assert (np.inf == scores.SIR).all()
    assert_same(scores, museval_scores(*(signals[:1] for signals in mono), RATE, RATE))


def test_threads_change_no_digit(stems):
    expected = bss_eval_samples(*stems, RATE // 4, RATE // 5, threads=1)
    scores = bss_eval_samples(*stems, RATE // 4, RATE // 5, threads=3)
    np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("window", [RATE, 1 << 40])
def test_memory_grows_by_the_correlations_of_windows_alone(mono, window):
    def peak(repeats):
        signals = [np.tile(audio, (1, repeats, 1)) for audio in mono]
        tracemalloc.start()
        try:
            bss_eval_samples(*signals, window, window, threads=1)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    windows = len(range(RATE, 60 * mono[0].shape[1], window))
    of_windows = 8192 * len(mono[0]) ** 2 * windows
    # Ten times the signal. The peak depends a little on when the thread frees its last block.
    assert peak(60) < 1.25 * peak(6) + of_windows


@pytest.mark.parametrize(
    ("references", "estimates", "window", "hop", "message"),
    [
        ((2, 9, 1), (2, 8, 1), 1, 1, r"^references \(2, 9, 1\), estimates \(2, 8, 1\)$"),
        ((2, 9), (2, 9), 1, 1, r"^references \(2, 9\), estimates \(2, 9\)$"),
        ((2, 0, 1), (2, 0, 1), 1, 1, r"^references \(2, 0, 1\), estimates \(2, 0, 1\)$"),
        ((2, 9, 1), (2, 9, 1), 0, 1, r"^window 0, hop 1$"),
        ((2, 9, 1), (2, 9, 1), 1, 0, r"^window 1, hop 0$"),
    ],
)
def test_arguments_of_wrong_shape_or_range_are_refused(references, estimates, window, hop, message):
    with pytest.raises(ValueError, match=message):
        bss_eval_samples(np.ones(references), np.ones(estimates), window, hop)
