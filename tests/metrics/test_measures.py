"""Measures of whole songs, compared with their definitions written down plainly."""

import tracemalloc
from unittest import mock

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from metrics.core.measures import Measures, mean, measures, median

RATE = 44100


@pytest.fixture
def stems(workspace):
    """References, and estimates with leakage and noise, `(sources, samples, channels)`: four
    sources, 1 s, two channels."""
    folder = next((workspace.root / "data/music/test").iterdir())
    references = np.stack(
        [
            soundfile.read(folder / f"{name}.wav", frames=RATE)[0]
            for name in ("vocals", "drums", "bass", "other")
        ]
    )
    noise = 1e-3 * np.random.default_rng(0).standard_normal(references.shape)
    leakage = 0.2 * references.sum(axis=0) + 0.05 * references[:, :, ::-1]
    return references, 0.7 * references + leakage + noise


@st.composite
def examples(draw):
    """References and estimates of noise at any levels, and the size of the pieces."""
    shape = draw(st.integers(2, 5)), draw(st.integers(30, 400)), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = 10.0 ** rng.uniform(-4, 2, (shape[0], 1, 1))
    references = levels * rng.standard_normal(shape)
    leakage = rng.uniform(-0.5, 0.5, (shape[0], shape[0]))
    estimates = np.einsum("ij,jkl->ikl", np.eye(shape[0]) + leakage, references)
    estimates += 10.0 ** rng.uniform(-4, 0) * levels * rng.standard_normal(shape)
    return references, estimates, draw(st.integers(1, 1000))


def plain(references, estimates):
    """The measures by their definitions, one vector and one least-squares problem at a time."""
    vectors = [reference.ravel() for reference in references]
    basis = np.stack(vectors, axis=1)
    rows = []
    for s, e in zip(vectors, (estimate.ravel() for estimate in estimates), strict=True):
        usdr = 10 * np.log10((np.sum(s**2) + 1e-7) / (np.sum((s - e) ** 2) + 1e-7))
        target = (e @ s) / (s @ s) * s
        # Of unit vectors, so that least squares takes no quiet reference for a rounding error.
        units = basis / np.linalg.norm(basis, axis=0)
        projection = units @ np.linalg.lstsq(units, e, rcond=None)[0]
        errors = (e - target, projection - target, e - projection)
        rows.append([usdr, *(10 * np.log10(target @ target / (x @ x)) for x in errors)])
    return Measures(*np.transpose(rows))


def assert_same(values, expected, tolerance=1e-8):
    for name, a, b in zip(Measures._fields, values, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance, err_msg=name)


def test_real_stems_have_the_measures_of_the_definitions(stems):
    values = measures(*stems)
    assert np.isfinite(values).all()
    assert_same(values, plain(*stems))


@given(examples())
def test_the_measures_are_those_of_the_definitions_whatever_the_shape(example):
    references, estimates, piece = example
    with mock.patch.dict(measures.__globals__, PIECE=piece):
        values = measures(references, estimates)
    assert_same(values, plain(references, estimates), tolerance=1e-6)


@given(examples())
def test_interference_and_artifacts_add_up_to_the_distortion(example):
    references, estimates, _ = example
    _, si_sdr, si_sir, si_sar = (10 ** (-ratio / 10) for ratio in measures(references, estimates))
    np.testing.assert_allclose(si_sdr, si_sir + si_sar, rtol=1e-9)


def test_the_scale_of_an_estimate_or_a_reference_changes_no_scale_invariant_measure(stems):
    references, estimates = stems
    expected = measures(references, estimates)
    scales = np.array([0.01, 3.0, -1.0, 1e3])[:, None, None]
    for values in (
        measures(references, scales * estimates),
        measures(scales * references, estimates),
    ):
        assert_same((expected.usdr, *values[1:]), expected)
        assert not np.isclose(values.usdr, expected.usdr, atol=0.1).any()


def test_the_utterance_sdr_of_known_energies_is_exact():
    references = np.zeros((2, 100, 2))
    references[0] = 0.1  # energy 2
    references[1] = 0.2  # energy 8
    estimates = references.copy()
    estimates[0, :, 0] = 0  # an error of energy 1
    estimates[1] = 0.1  # an error of energy 2
    expected = [10 * np.log10((2 + 1e-7) / (1 + 1e-7)), 10 * np.log10((8 + 1e-7) / (2 + 1e-7))]
    np.testing.assert_allclose(measures(references, estimates).usdr, expected, rtol=1e-13)


def test_silence_has_no_scale_invariant_measure_and_0_db_by_the_challenges_code(stems):
    references, estimates = (signals.copy() for signals in stems)
    references[0] = estimates[0] = references[1] = estimates[2] = 0
    values = measures(references, estimates)
    for ratios in values[1:]:
        np.testing.assert_array_equal(np.isnan(ratios), [True, True, True, False])
    assert values.usdr[0] == 0
    assert values.usdr[1] == pytest.approx(10 * np.log10(1e-7 / (np.sum(estimates[1] ** 2) + 1e-7)))
    assert values.usdr[2] == pytest.approx(0, abs=1e-6)
    # The silent references take nothing from the projection of the others.
    expected = measures(references[2:], estimates[2:])
    np.testing.assert_allclose([ratios[3] for ratios in values], [ratios[1] for ratios in expected])


def test_a_ratio_to_nothing_is_infinite(stems):
    references, _ = stems
    values = measures(references, 0.3 * references)
    for ratios in values[1:]:
        np.testing.assert_array_equal(ratios, np.inf)
    mixture = np.broadcast_to(references.sum(axis=0), references.shape)
    values = measures(references, mixture)
    np.testing.assert_array_equal(values.si_sar, np.inf)
    assert np.isfinite(values.si_sdr).all()
    np.testing.assert_allclose(values.si_sdr, values.si_sir)


def test_a_single_source_has_no_interference(stems):
    references, estimates = (signals[:1] for signals in stems)
    values = measures(references, estimates)
    assert values.si_sir[0] == np.inf
    assert values.si_sdr[0] == pytest.approx(values.si_sar[0], abs=1e-9)


def test_a_reference_that_another_one_repeats_changes_no_projection(stems):
    references, estimates = stems
    repeated = np.concatenate([references, 0.5 * references[:1]])
    values = measures(repeated, np.concatenate([estimates, estimates[:1]]))
    for ratios, expected in zip(values[1:], measures(references, estimates)[1:], strict=True):
        np.testing.assert_allclose(ratios[:4], expected, atol=1e-6)


@pytest.mark.parametrize("sample", [np.nan, np.inf])
def test_non_finite_samples_spoil_what_they_take_part_in(stems, sample):
    references, estimates = (signals.copy() for signals in stems)
    estimates[1, 100, 0] = sample
    expected = measures(*stems)
    values = measures(references, estimates)
    for ratios, clean in zip(values, expected, strict=True):
        assert not np.isfinite(ratios[1])
        np.testing.assert_allclose(np.delete(ratios, 1), np.delete(clean, 1), atol=1e-9)
    references[0, 7, 1] = sample
    values = measures(references, stems[1])
    assert np.isnan(values.si_sir).all()
    assert np.isnan(values.si_sar).all()
    np.testing.assert_allclose(values.usdr[1:], expected.usdr[1:])


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_samples_may_have_any_type(stems, dtype):
    signals = [(20000 * audio).astype(dtype) for audio in stems]
    expected = measures(*(audio.astype(np.float64) for audio in signals))
    np.testing.assert_array_equal(measures(*signals), expected)


def test_memory_does_not_depend_on_the_length():
    references = np.ones((2, 400_000, 2), np.float32)
    tracemalloc.start()
    measures(references, references)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.parametrize(
    "shapes", [((2, 10), (2, 10)), ((2, 10, 1), (2, 9, 1)), ((2, 0, 1), (2, 0, 1))]
)
def test_wrong_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="references"):
        measures(*map(np.zeros, shapes))


def test_medians_and_means_are_of_finite_values():
    values = [1.0, np.nan, 2.0, np.inf, 9.0, -np.inf]
    assert median(values) == 2.0
    assert mean(values) == 4.0
    assert np.isnan(median([np.nan, np.inf]))
    assert np.isnan(mean([]))
