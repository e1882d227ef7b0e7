"""SI-SNR on real voices, compared with the formula written out and with brute force."""

import itertools

import numpy as np
import pytest
import soundfile

from metrics.core.si_snr import score_speakers, si_snr


@pytest.fixture
def voices(workspace):
    """Four different voices, `(speakers, samples)`, float64."""
    folder = workspace.root / "data/speech/mixtures/wav8k/min"
    files = sorted(folder.glob("tr/s[12]/*.wav"))[:4]
    return np.stack([soundfile.read(path, frames=16000)[0] for path in files])


def plain_si_snr(reference, estimate):
    """The formula of `metrics.core.si_snr`, in its letters."""
    s = reference - sum(reference) / len(reference)
    e = estimate - sum(estimate) / len(estimate)
    target = (e @ s) / (s @ s) * s
    return 10 * np.log10(np.linalg.norm(target) ** 2 / np.linalg.norm(e - target) ** 2)


def orthogonal(noise, reference):
    """The part of `noise` that is zero-mean and orthogonal to zero-mean `reference`."""
    reference = reference - reference.mean()
    noise = noise - noise.mean()
    return noise - (noise @ reference) / (reference @ reference) * reference


def test_equals_the_plain_formula(voices):
    reference, other = voices[0] + 0.01, voices[1]
    for leak in (0.01, 0.3, 5.0):
        estimate = reference + leak * other
        assert si_snr(reference, estimate) == pytest.approx(
            plain_si_snr(reference, estimate), abs=1e-9
        )


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 10.0, 40.0])
def test_orthogonal_noise_counts_at_its_level(voices, decibels):
    noise = orthogonal(voices[1], voices[0])
    level = np.linalg.norm(voices[0] - voices[0].mean()) / np.linalg.norm(noise)
    estimate = voices[0] + noise * level * 10 ** (-decibels / 20)
    assert si_snr(voices[0], estimate) == pytest.approx(decibels, abs=1e-9)


def test_scale_and_offset_change_nothing(voices):
    estimate = voices[0] + 0.3 * voices[1]
    expected = si_snr(voices[0], estimate)
    for gain, offset in ((1e-3, 0), (-7.0, 0), (250.0, 0.5)):
        assert si_snr(voices[0], gain * estimate + offset) == pytest.approx(expected, abs=1e-6)
        assert si_snr(gain * voices[0] + offset, estimate) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("speakers", [5, 10])
def test_a_known_permutation_of_many_speakers_is_found(speakers):
    rng = np.random.default_rng(speakers)
    references = rng.normal(size=(speakers, 4000))
    permutation = rng.permutation(speakers)
    estimates = (references + 0.3 * rng.normal(size=references.shape))[permutation]
    scores = score_speakers(references, estimates, references.sum(axis=0))
    assert permutation[scores.order].tolist() == list(range(speakers))
    pairs = zip(references, estimates[scores.order], strict=True)
    expected = [plain_si_snr(reference, estimate) for reference, estimate in pairs]
    np.testing.assert_allclose(scores.si_snr, expected, atol=1e-9)


@pytest.mark.parametrize("speakers", [1, 2, 3, 4])
def test_the_best_permutation_is_that_of_brute_force(voices, speakers):
    references = voices[:speakers]
    mixture = references.sum(axis=0)
    shuffled = np.random.default_rng(speakers).permutation(speakers)
    leaks = np.linspace(0.2, 0.9, speakers)[:, None]
    noise = 0.1 * np.roll(voices[:speakers], 4000, axis=1)
    estimates = (references + leaks * mixture + noise)[shuffled]

    scores = score_speakers(references, estimates, mixture)

    best = max(
        itertools.permutations(range(speakers)),
        key=lambda order: sum(
            plain_si_snr(references[i], estimates[j]) for i, j in enumerate(order)
        ),
    )
    assert tuple(scores.order) == best
    expected = [plain_si_snr(references[i], estimates[j]) for i, j in enumerate(best)]
    np.testing.assert_allclose(scores.si_snr, expected, atol=1e-9)
    if speakers > 1:  # a single speaker is the mixture itself: its SI-SNR is unbounded
        over_mixture = [plain_si_snr(reference, mixture) for reference in references]
        np.testing.assert_allclose(
            scores.si_snr_improvement, np.subtract(expected, over_mixture), atol=1e-9
        )


def test_the_mixture_as_an_estimate_improves_nothing(voices):
    mixture = voices[:2].sum(axis=0)
    scores = score_speakers(voices[:2], np.stack([mixture, mixture]), mixture)
    np.testing.assert_array_equal(scores.si_snr_improvement, [0, 0])


def test_a_silent_reference_is_nan_and_has_no_influence_on_the_permutation(voices):
    references = np.stack([np.full(16000, 0.1), voices[1], voices[2]])
    estimates = np.stack([voices[2] + 0.1 * voices[0], voices[1], voices[0]])
    scores = score_speakers(references, estimates, references.sum(axis=0))
    assert np.isnan(scores.si_snr[0]) and np.isnan(scores.si_snr_improvement[0])
    assert list(scores.order) == [2, 1, 0]
    assert np.isfinite(scores.si_snr_improvement[2])


@pytest.mark.parametrize("broken", [0.0, 0.1, np.nan, np.inf])
def test_a_silent_or_broken_estimate_is_minus_infinity(voices, broken):
    estimates = np.stack([np.full(16000, broken), voices[0] + 0.1 * voices[1]])
    scores = score_speakers(voices[:2], estimates, voices[:2].sum(axis=0))
    assert list(scores.order) == [1, 0]
    assert scores.si_snr[1] == -np.inf
    assert np.isfinite(scores.si_snr[0])


def test_there_must_be_as_many_estimates_as_references(voices):
    message = r"^references \(2, 16000\), estimates \(3, 16000\)$"
    with pytest.raises(ValueError, match=message):
        score_speakers(voices[:2], voices[:3], voices[0])
