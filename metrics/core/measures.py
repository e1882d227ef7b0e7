"""Measures of whole songs in dB, and what each community makes of the scores of many.

For the estimate e of a reference s, both `(samples, channels)` of a whole song, and all their
samples one vector,

    uSDR = 10 log10( (|s|² + 1e-7) / (|s - e|² + 1e-7) )

the utterance-level SDR by which the Music Demixing challenges rank (MDX 2021: Mitsufuji et al.,
"Music Demixing Challenge 2021", Frontiers in Signal Processing 1, 2022; SDX 2023: Fabbro et al.,
"The Sound Demixing Challenge 2023 – Music Demixing Track", arXiv 2308.06979). The constant is that
of the challenges' evaluation code, for samples between -1 and 1. And with

    target       = (<e, s> / <s, s>) s
    interference = the projection of e onto all references, less target
    artifacts    = e less its projection onto all references

the scale-invariant ratios

    SI-SDR = |target|² / |interference + artifacts|²
    SI-SIR = |target|² / |interference|²
    SI-SAR = |target|² / |artifacts|²

of Le Roux, Wisdom, Erdogan, Hershey, "SDR – half-baked or well done?", ICASSP 2019. The three parts
are orthogonal, so that 10^(-SDR/10) = 10^(-SIR/10) + 10^(-SAR/10). Unlike BSS Eval's, the SI-SAR
does not count interference as signal. The paper has one channel; here one factor scales all
channels of an image, so that an estimate with the wrong panorama is not a perfect one. Means are
not removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg

CONSTANT = 1e-7  # of the uSDR: what the challenges' evaluation code adds to both energies
PIECE = 1 << 15  # samples that are handled at a time: few enough for a core's cache
NOTHING = 1e-25  # the energy of a rounding error in float64, relative to the target, is below it
DEPENDENT = 1e-12  # singular values of unit references below it are those of dependent references


class Measures(NamedTuple):
    """The measures of each source over the whole signal, in dB, each `(sources,)`."""

    usdr: np.ndarray  # utterance-level SDR of the Music Demixing challenges
    si_sdr: np.ndarray  # scale-invariant: signal to distortion
    si_sir: np.ndarray  # scale-invariant: signal to interference
    si_sar: np.ndarray  # scale-invariant: signal to artifacts


def measures(references: np.ndarray, estimates: np.ndarray) -> Measures:
    """Returns the measures of the estimates of one song.

    Estimate i is scored against reference i. Everything is computed in float64, piece by piece, so
    that the memory does not depend on the length of the song.

    Args:
        references: `(sources, samples, channels)`, real numbers of any type.
        estimates: `(sources, samples, channels)`, real numbers of any type.

    Returns:
        The measures in dB, `(sources,)`. The scale-invariant ones are NaN for a source whose
        reference or estimate is silent (0); a silent reference changes nothing for the others. A
        ratio to nothing, as the SI-SDR of a scaled copy, is infinite. The uSDR has a value for
        silence, too: 0 dB where both are silent. Non-finite samples make the measures of their own
        source NaN or infinite; in a reference, also SI-SIR and SI-SAR of all sources NaN.

    Raises:
        ValueError: an argument has the wrong shape.
    """
    references, estimates = np.asarray(references), np.asarray(estimates)
    if references.ndim != 3 or references.shape != estimates.shape or references.size == 0:
        raise ValueError(f"references {references.shape}, estimates {estimates.shape}")
    sources = len(references)
    gram = np.zeros((sources, sources))
    correlations = np.zeros((sources, sources))  # of each reference with each estimate
    estimate_energy, distortion = np.zeros((2, sources))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for reference, estimate in _pieces(references, estimates):
            gram += reference @ reference.T
            correlations += reference @ estimate.T
            estimate_energy += _energies(estimate)
            distortion += _energies(reference - estimate)
        reference_energy = gram.diagonal()
        usdr = 10 * np.log10((reference_energy + CONSTANT) / (distortion + CONSTANT))

        scales = correlations.diagonal() / reference_energy
        weights = _projections(gram, correlations)
        residual, interference, artifacts = np.zeros((3, sources))
        # From the signals, not from the correlations, whose differences would have few digits.
        for reference, estimate in _pieces(references, estimates):
            target = scales[:, None] * reference
            projection = weights.T @ reference
            residual += _energies(estimate - target)
            interference += _energies(projection - target)
            artifacts += _energies(estimate - projection)
        target_energy = scales**2 * reference_energy
        valid = (reference_energy > 0) & (estimate_energy > 0)
        ratios = [
            np.where(valid, _decibels(target_energy, error, estimate_energy), np.nan)
            for error in (residual, interference, artifacts)
        ]
    return Measures(usdr, *ratios)


def median(values: Iterable[float]) -> float:
    """Returns the median of the finite values, NaN if there are none.

    So BSS Eval is aggregated, as in the SiSEC campaigns: over the frames of a track, then over
    the tracks. `museval` leaves the same values out, for it writes infinities as NaN.

    Args:
        values: `(values,)`, in dB.
    """
    finite = _finite(values)
    return float(np.median(finite)) if finite.size else float("nan")


def mean(values: Iterable[float]) -> float:
    """Returns the mean of the finite values, NaN if there are none.

    So the uSDR is aggregated, as in the Music Demixing challenges, and the scale-invariant
    measures: over the songs of each target, and these means over the targets.

    Args:
        values: `(values,)`, in dB.
    """
    finite = _finite(values)
    return float(np.mean(finite)) if finite.size else float("nan")


def _finite(values: Iterable[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _pieces(*arrays: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yields pieces of signals, `(sources, samples, channels)` → `(sources, samples × channels)`,
    in float64."""
    sources, samples, channels = arrays[0].shape
    step = max(1, PIECE // (sources * channels))
    for start in range(0, samples, step):
        yield [
            array[:, start : start + step].astype(np.float64).reshape(sources, -1)
            for array in arrays
        ]


def _energies(signals: np.ndarray) -> np.ndarray:
    """Returns the energy of each signal, `(sources, samples)` → `(sources,)`."""
    return np.einsum("ij,ij->i", signals, signals)


def _projections(gram: np.ndarray, correlations: np.ndarray) -> np.ndarray:
    """Returns the weights of the references in the projection of each estimate onto all of them.

    Silent references have none, and of references that depend on each other the weights are not
    unique, but the projection is.

    Args:
        gram: the inner products of the references, `(sources, sources)`.
        correlations: those of references and estimates, `(sources, estimates)`.

    Returns:
        The weights, `(sources, estimates)`; NaN for estimates with non-finite samples.
    """
    weights = np.full_like(correlations, np.nan)
    if not np.isfinite(gram).all():
        return weights
    # References of unit energy: a quiet one must not be taken for a dependent one.
    norms = np.sqrt(gram.diagonal())
    units = np.where(norms > 0, norms, np.inf)
    finite = np.isfinite(correlations).all(axis=0)
    right = correlations[:, finite] / units[:, None]
    solution = scipy.linalg.lstsq(gram / np.outer(units, units), right, cond=DEPENDENT)[0]
    weights[:, finite] = solution / units[:, None]
    return weights


def _decibels(target: np.ndarray, error: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Returns the ratios of energies in dB, infinite where the error is one of rounding.

    Args:
        target: the energies of the targets, `(sources,)`.
        error: the energies of what is no target, `(sources,)`.
        estimate: the energies of the estimates, of which they are parts, `(sources,)`.
    """
    return np.where(error <= NOTHING * estimate, np.inf, 10 * np.log10(target / error))
