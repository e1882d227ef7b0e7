"""BSS Eval of band-limited stems, whose equations are too badly conditioned for 16 digits."""

import decimal
import os
import platform
import subprocess
import sys
from decimal import Decimal
from unittest import mock

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve, firwin

from metrics.core import bsseval, toeplitz
from metrics.core.bsseval import bss_eval_samples
from tests.conftest import ROOT, in_ci
from tests.metrics.test_bsseval import assert_same, museval_scores

RATE = 44100
# Kernels of the BLAS library that all x86-64 processors of the last ten years can run, and threads.
KERNELS = [("Prescott", 1), ("Nehalem", 2), *in_ci(("Sandybridge", 1))]


def band_limited(stems, cutoff):
    """Returns stems without what lies above a frequency in Hz, in samples of 24 bits, as lossy
    codecs leave them. They begin and end softly: a cut is a click, which has all frequencies."""
    window = firwin(1025, cutoff, fs=RATE, window=("kaiser", 14))
    filtered = fftconvolve(stems, window[None, :, None], axes=1)
    return np.rint(filtered * 2**23) / 2**23


@pytest.fixture
def stems(workspace):
    """Vocals and drums, `(sources, samples, channels)`: one second of one channel."""
    folder = next((workspace.root / "data/music/test").iterdir())
    files = [folder / f"{name}.wav" for name in ("vocals", "drums")]
    return np.stack([soundfile.read(path, frames=RATE)[0][:, :1] for path in files])


@pytest.fixture
def band_limited_stems(stems):
    """References up to 16 kHz, and estimates with leakage and with noise up to 22 kHz."""
    references = band_limited(stems, 16000)
    noise = 1e-5 * np.random.default_rng(0).standard_normal(references.shape)
    return references, references + 0.2 * references.sum(axis=0) + noise


FEW_TAPS = 64  # so that a test is quick


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these kernels are for x86-64")
def test_scores_are_the_same_on_all_kernels_and_threads_of_the_blas_library(
    band_limited_stems, tmp_path
):
    np.save(tmp_path / "stems.npy", band_limited_stems)
    script = (
        "import sys, numpy; from metrics.core.bsseval import bss_eval_samples;"
        "stems = numpy.load('stems.npy'); scores = bss_eval_samples(*stems, 20000, 10000);"
        "numpy.save(sys.argv[1], scores)"
    )
    with mock.patch.object(toeplitz, "solve_exactly", wraps=toeplitz.solve_exactly) as exact:
        scores = [np.array(bss_eval_samples(*band_limited_stems, 20000, 10000))]
    assert exact.called
    for kernel, threads in KERNELS:
        environment = {
            "PYTHONPATH": str(ROOT),
            "OPENBLAS_CORETYPE": kernel,
            "OPENBLAS_NUM_THREADS": str(threads),
        }
        path = tmp_path / f"{kernel}.npy"
        subprocess.run(
            [sys.executable, "-c", script, path],
            cwd=tmp_path,
            env=os.environ | environment,
            check=True,
        )
        scores.append(np.load(path))
    assert np.isfinite(scores).all()
    for others in scores[1:]:
        np.testing.assert_allclose(others, scores[0], rtol=0, atol=1e-9)


def decimal_filters(references, estimate, taps):
    """Returns the filters `(references, taps)` whose sum fits an estimate best, to 60 digits.

    They come from an orthogonalisation of the delayed references, without any correlation. The
    references are `(references, samples)`, the estimate `(samples,)`.
    """
    to_decimals = np.vectorize(Decimal, otypes=[object])
    with decimal.localcontext(prec=60):
        columns = []
        for reference in references:
            for delay in range(taps):
                columns.append(np.pad(reference, (delay, taps - 1 - delay)))
        count = len(columns)
        # The rows that museval's eps on the diagonal of the equations stands for.
        root = Decimal(float(np.finfo(float).eps)).sqrt()
        penalty = root * to_decimals(np.eye(count))
        basis = np.concatenate([to_decimals(np.stack(columns)), penalty], axis=1)
        target = to_decimals(np.pad(estimate, (0, taps - 1 + count)))
        triangle = np.full((count, count), Decimal(0))
        parts = np.full(count, Decimal(0))
        for place in range(count):
            norm = (basis[place] @ basis[place]).sqrt()
            basis[place] /= norm
            triangle[place, place] = norm
            triangle[place, place + 1 :] = basis[place + 1 :] @ basis[place]
            basis[place + 1 :] -= triangle[place, place + 1 :, None] * basis[place]
            parts[place] = target @ basis[place]
            target = target - parts[place] * basis[place]
        filters = np.full(count, Decimal(0))
        for place in range(count - 1, -1, -1):
            known = triangle[place, place + 1 :] @ filters[place + 1 :]
            filters[place] = (parts[place] - known) / triangle[place, place]
    return filters.astype(float).reshape(-1, taps)


def energy(signal):
    """Returns the sum of the squares."""
    return signal @ signal


def test_scores_are_those_of_an_orthogonalisation_with_60_digits(stems):
    """Nothing is correlated there, and no equation is formed."""
    taps, window = 12, 150
    soft = np.hanning(300)[:, None] ** 2
    references = np.rint(soft * band_limited(stems, 1000)[:, 20000:20300] * 2**23) / 2**23
    noise = 1e-5 * np.random.default_rng(0).standard_normal(references.shape)
    estimates = references + 0.2 * references.sum(axis=0) + noise
    with (
        mock.patch.object(toeplitz, "solve_exactly", wraps=toeplitz.solve_exactly) as exact,
    ):
        scores = bss_eval_samples(references, estimates, window, window, taps=taps)
    assert exact.called
    for source, (reference, estimate) in enumerate(zip(references, estimates, strict=True)):
        own = decimal_filters(reference.T, estimate[:, 0], taps)
        everything = decimal_filters(references[:, :, 0], estimate[:, 0], taps)
        for frame in range(2):
            part = slice(frame * window, (frame + 1) * window)
            s, e = (np.pad(signal[part, 0], (0, taps - 1)) for signal in (reference, estimate))
            by_own = np.convolve(reference[part, 0], own[0])
            by_all = sum(map(np.convolve, references[:, part, 0], everything))
            expected = {
                "ISR": energy(s) / energy(by_own - s),
                "SIR": energy(by_own) / energy(by_all - by_own),
                "SAR": energy(by_all) / energy(e - by_all),
            }
            for name, ratio in expected.items():
                value = getattr(scores, name)[source, frame]
                assert value == pytest.approx(10 * np.log10(ratio), abs=1e-6), name


@pytest.mark.parametrize("digits", [16, 24, 53])
def test_where_museval_has_digits_enough_the_exact_scores_are_its_own(stems, digits):
    rng = np.random.default_rng(digits)
    references = np.concatenate([stems, stems[:, ::-1]], axis=2)[:, 15000:]
    references += 1e-3 * rng.standard_normal(references.shape)
    references = 3 * np.rint(references * 2.0 ** (digits - 1)) / 2 ** (digits - 1)
    estimates = references[::-1] * 0.1 + references + 0.01 * rng.standard_normal(references.shape)
    arguments = (references, estimates, 12000, 7000)
    with mock.patch.object(bsseval, "LARGEST_ERROR", 0.0):  # no error is negligible
        scores = bss_eval_samples(*arguments, taps=FEW_TAPS)
    expected = museval_scores(*arguments, FEW_TAPS)
    np.testing.assert_allclose(scores.SDR, expected[0], rtol=0, atol=1e-9)
    assert_same(scores, expected)


def test_the_number_of_our_threads_changes_no_digit(band_limited_stems):
    with mock.patch.object(bsseval, "EXACT_PIECES", 1):  # so that there is work for several
        scores = [
            bss_eval_samples(*band_limited_stems, 9000, 9000, threads, FEW_TAPS)
            for threads in (1, 3)
        ]
    np.testing.assert_array_equal(*scores)


def test_a_nonfinite_estimate_loses_only_its_own_scores(band_limited_stems):
    references, estimates = band_limited_stems
    expected = bss_eval_samples(references, estimates, RATE, RATE, taps=FEW_TAPS)
    estimates[0, 100] = np.nan
    scores = bss_eval_samples(references, estimates, RATE, RATE, taps=FEW_TAPS)
    for values, expected_values in zip(scores, expected, strict=True):
        assert np.isnan(values[0]).all()
        np.testing.assert_array_equal(values[1], expected_values[1])


@pytest.mark.parametrize("scale", [1, 2**15])
def test_the_level_of_equal_stems_does_not_matter(stems, scale):
    """At the level of whole numbers of 16 bits, museval's eps is nothing beside the energies."""
    references = np.rint(np.stack([stems[0, :9000]] * 2) * 2**15) / 2**15 * scale
    estimates = scale * stems[:, :9000]
    scores = bss_eval_samples(references, estimates, 9000, 9000, taps=FEW_TAPS)
    assert (scores.SIR > 200).all()
    assert scores.ISR[0] > 200
    assert np.isfinite(scores.SAR).all()
