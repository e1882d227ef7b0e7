"""Functions of NumPy 2, with what stands for them in NumPy 1."""

from __future__ import annotations

import numpy as np
import scipy.fft

_NUMPY_2 = hasattr(np, "vecdot")


def rfft(signals: np.ndarray, size: int, out: np.ndarray, axis: int = -1) -> np.ndarray:
    """Writes the spectra of real signals to `out`, `(..., size // 2 + 1)`, and returns it.

    Args:
        signals: `(..., samples)`.
        size: of the transform, in samples.
        out: where the spectra go, complex.
        axis: of the samples and the frequencies, if it is not the last.
    """
    if _NUMPY_2:
        return np.fft.rfft(signals, n=size, axis=axis, out=out)
    out[...] = scipy.fft.rfft(signals, n=size, axis=axis)
    return out


def irfft(spectra: np.ndarray, size: int, out: np.ndarray, axis: int = -1) -> np.ndarray:
    """Writes the real signals of spectra to `out`, `(..., size)`, and returns it.

    Args:
        spectra: `(..., size // 2 + 1)`.
        size: of the transform, in samples.
        out: where the signals go.
        axis: of the frequencies and the samples, if it is not the last.
    """
    if _NUMPY_2:
        return np.fft.irfft(spectra, n=size, axis=axis, out=out)
    out[...] = scipy.fft.irfft(spectra, n=size, axis=axis)
    return out


def squares(signals: np.ndarray) -> np.ndarray:
    """Returns the sums of the squares of real signals.

    `(..., samples)` → `(...)`.
    """
    if _NUMPY_2:
        return np.vecdot(signals, signals)
    return np.einsum("...n,...n->...", signals, signals)
