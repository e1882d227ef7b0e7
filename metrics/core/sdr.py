"""Signal-to-distortion ratio of separated speakers, in dB, as WSJ0-mix papers report it.

This is the SDR of BSS Eval version 3 (Vincent, Gribonval, Févotte, "Performance measurement in
blind audio source separation", IEEE TASLP 14(4), 2006; `bss_eval_sources` of `mir_eval`). What a
filter of 512 taps on the reference s can make of the estimate e counts as signal, the rest as
distortion. With r the autocorrelation of s, R its Toeplitz matrix and c the correlation of s with
e, all over the lags 0 to 511,

    signal = c' R⁻¹ c        SDR = 10 log10( signal / (|e|² - signal) )

(Scheibler, "SDR – Medium Rare with Fast Computations", ICASSP 2022). Means are not removed. The SDR
of BSS Eval version 4 differs: it takes a filtered or scaled reference for distortion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.linalg

TAPS = 512


def sdr(reference: np.ndarray, estimates: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Returns the SDR of each of several estimates of one reference.

    Args:
        reference: `(samples,)`.
        estimates: `(estimates, samples)`.

    Returns:
        The ratios in dB, `(estimates,)`. NaN where the reference is silent (0): there is nothing to
        estimate. Minus infinity where an estimate is silent or has non-finite samples.
    """
    reference = np.asarray(reference, dtype=np.float64)
    estimates = np.asarray(estimates, dtype=np.float64)
    if not reference.any():
        return np.full(len(estimates), np.nan)
    estimates = np.where(np.isfinite(estimates).all(axis=-1, keepdims=True), estimates, 0.0)
    length = scipy.fft.next_fast_len(reference.size + TAPS, real=True)
    spectrum = scipy.fft.rfft(reference, length)
    spectra = np.concatenate([spectrum[None], scipy.fft.rfft(estimates, length)])
    lags = scipy.fft.irfft(spectrum.conj() * spectra, length)[:, :TAPS]
    autocorrelation, correlations = lags[0], lags[1:]
    filters = _solve(scipy.linalg.toeplitz(autocorrelation), correlations.T).T
    signal = (filters * correlations).sum(axis=-1)
    energy = (estimates**2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding may make the distortion of an estimate that is all signal negative.
        ratio = 10 * np.log10(signal / np.maximum(energy - signal, 0))
    return np.where(energy == 0, -np.inf, ratio)


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solves `matrix` `(taps, taps)` for `right` `(taps, sides)`, in the least-squares sense where
    it is singular."""
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:  # a reference of a few tones
        return np.linalg.lstsq(matrix, right, rcond=None)[0]
