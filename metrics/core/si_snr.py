"""Scale-invariant signal-to-noise ratio of separated speakers, in dB.

With s the reference and e the estimate, both made zero-mean,

    a      = <e, s> / <s, s>
    SI-SNR = 10 log10( |a s|² / |a s - e|² )

Source: Le Roux, Wisdom, Erdogan, Hershey, "SDR – half-baked or well done?", ICASSP 2019, which
calls it SI-SDR. Everything is computed in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from .sdr import sdr


class SpeakerScores(NamedTuple):
    """The scores of each speaker, in the order of the references, each `(speakers,)`."""

    si_snr: np.ndarray  # dB
    si_snr_improvement: np.ndarray  # dB over the mixture
    sdr_improvement: np.ndarray  # dB over the mixture
    order: np.ndarray  # index of the estimate matched to each reference


def si_snr(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Returns the SI-SNR of an estimate, or of several.

    Args:
        reference: `(..., samples)`.
        estimate: `(..., samples)`; the two are broadcast against each other.

    Returns:
        The ratios in dB, `(...)`. NaN where the reference is silent (constant): there is nothing to
        estimate. Minus infinity where the estimate is silent or has non-finite samples.
    """
    reference = np.asarray(reference, dtype=np.float64)
    estimate = np.asarray(estimate, dtype=np.float64)
    estimate = np.where(np.isfinite(estimate).all(axis=-1, keepdims=True), estimate, 0.0)
    silent_reference, silent_estimate = _constant(reference), _constant(estimate)

    reference = reference - reference.mean(axis=-1, keepdims=True)
    estimate = estimate - estimate.mean(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (reference * estimate).sum(axis=-1) / (reference**2).sum(axis=-1)
        target = scale[..., None] * reference
        noise = target - estimate
        ratio = 10 * np.log10((target**2).sum(axis=-1) / (noise**2).sum(axis=-1))
    ratio = np.where(silent_estimate, -np.inf, ratio)
    return np.where(silent_reference, np.nan, ratio)


def score_speakers(
    references: np.ndarray, estimates: np.ndarray, mixture: np.ndarray
) -> SpeakerScores:
    """Returns the scores of the speakers of a mixture under the best permutation of the estimates.

    The best permutation has the largest sum of SI-SNR over the speakers. Silent references have no
    influence on it. An improvement is a metric of the estimate less the same metric of the mixture,
    both against the same reference.

    Args:
        references: `(speakers, samples)`.
        estimates: `(speakers, samples)`, in any order.
        mixture: `(samples,)`.

    Returns:
        The scores, NaN for silent references.

    Raises:
        ValueError: there are not as many estimates as references, or of another length.
    """
    references, estimates = np.asarray(references), np.asarray(estimates)
    order = best_order(references, estimates)
    return SpeakerScores(**score_in_order(references, estimates[order], mixture), order=order)


def best_order(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Returns the permutation of the estimates that has the largest sum of SI-SNR.

    Silent references have no influence on it.

    Args:
        references: `(speakers, samples)`.
        estimates: `(speakers, samples)`, in any order.

    Returns:
        The index of the estimate of each reference, `(speakers,)`.

    Raises:
        ValueError: there are not as many estimates as references, or of another length.
    """
    if np.shape(references) != np.shape(estimates):
        raise ValueError(f"references {np.shape(references)}, estimates {np.shape(estimates)}")
    pairs = np.stack([si_snr(references, estimate) for estimate in estimates], axis=1)
    # The assignment needs finite values. Whole rows (silent references) and whole columns
    # (silent estimates) hold the same stand-in, which therefore favours no permutation.
    gains = np.nan_to_num(pairs, nan=0.0, posinf=1e3, neginf=-1e3)
    _, order = linear_sum_assignment(gains, maximize=True)
    return order


def score_in_order(
    references: np.ndarray, estimates: np.ndarray, mixture: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the scores of the speakers of a mixture, whose estimates are in their order.

    Args:
        references: `(speakers, samples)`.
        estimates: `(speakers, samples)`.
        mixture: `(samples,)`.

    Returns:
        All but `order` of `SpeakerScores`, NaN for silent references.
    """
    si_snrs = si_snr(references, estimates)
    pairs = zip(references, estimates, strict=True)
    sdrs = np.array([sdr(reference, [estimate, mixture]) for reference, estimate in pairs])
    sdrs[np.isnan(si_snrs)] = np.nan
    with np.errstate(invalid="ignore"):
        return {
            "si_snr": si_snrs,
            "si_snr_improvement": si_snrs - si_snr(references, mixture),
            "sdr_improvement": sdrs[:, 0] - sdrs[:, 1],
        }


def _constant(signals: np.ndarray) -> np.ndarray:
    """Returns whether each signal `(..., samples)` is constant, `(...)`.

    The mean of a constant may miss it by rounding, so the energy after the removal of the mean
    cannot tell.
    """
    return np.ptp(signals, axis=-1) == 0
