"""Scale-invariant signal-to-noise ratio of separated speakers, in dB.

With s the reference and e the estimate, both made zero-mean (Le Roux, Wisdom, Erdogan, Hershey,
"SDR – half-baked or well done?", ICASSP 2019, there called SI-SDR):

    a      = <e, s> / <s, s>
    SI-SNR = 10 log10( |a s|² / |a s - e|² )

All in float64.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from metrics.sdr import sdr


class SpeakerScores(NamedTuple):
    """One value per speaker, in the order of the references."""

    si_snr: np.ndarray  # dB
    si_snr_improvement: np.ndarray  # dB over the mixture
    sdr_improvement: np.ndarray  # dB over the mixture
    order: np.ndarray  # index of the estimate matched to each reference


def si_snr(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """SI-SNR in dB of `estimate` against `reference`: `(..., samples)`, broadcast, to `(...)`.

    NaN where the reference is silent (constant): there is nothing to find. Minus infinity where
    the estimate is silent or has non-finite samples: nothing was found.
    """
    reference = np.asarray(reference, dtype=np.float64)
    estimate = np.asarray(estimate, dtype=np.float64)
    estimate = np.where(np.isfinite(estimate).all(axis=-1, keepdims=True), estimate, 0.0)
    nothing_to_find, nothing_found = _constant(reference), _constant(estimate)

    reference = reference - reference.mean(axis=-1, keepdims=True)
    estimate = estimate - estimate.mean(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (reference * estimate).sum(axis=-1) / (reference**2).sum(axis=-1)
        target = scale[..., None] * reference
        noise = target - estimate
        ratio = 10 * np.log10((target**2).sum(axis=-1) / (noise**2).sum(axis=-1))
    ratio = np.where(nothing_found, -np.inf, ratio)
    return np.where(nothing_to_find, np.nan, ratio)


def score_speakers(
    references: np.ndarray, estimates: np.ndarray, mixture: np.ndarray
) -> SpeakerScores:
    """SI-SNR, and its and the SDR's improvement over the mixture, under the best permutation of the
    estimates.

    references, estimates: `(speakers, samples)`; mixture: `(samples,)`.
    The best permutation has the largest sum of SI-SNR over the speakers; silent references have
    no say in it, and have no scores (NaN). The improvement is SI-SNR(reference, estimate) -
    SI-SNR(reference, mixture), and so for `metrics.sdr`.
    """
    if np.shape(references) != np.shape(estimates):
        raise ValueError(f"references {np.shape(references)}, estimates {np.shape(estimates)}")
    pairs = np.stack([si_snr(references, estimate) for estimate in estimates], axis=1)
    # The assignment needs finite values. Whole rows (silent references) and whole columns
    # (silent estimates) are alike, so that their stand-ins favour no permutation.
    gains = np.nan_to_num(pairs, nan=0.0, posinf=1e3, neginf=-1e3)
    speakers, order = linear_sum_assignment(gains, maximize=True)
    scores = pairs[speakers, order]
    sdrs = np.array(
        [sdr(s, [estimates[i], mixture]) for s, i in zip(references, order, strict=True)]
    )
    sdrs[np.isnan(scores)] = np.nan
    with np.errstate(invalid="ignore"):
        return SpeakerScores(
            scores, scores - si_snr(references, mixture), sdrs[:, 0] - sdrs[:, 1], order
        )


def _constant(signal: np.ndarray) -> np.ndarray:
    # The mean of a constant may miss it by rounding, so energy after its removal cannot tell.
    return np.ptp(signal, axis=-1) == 0
