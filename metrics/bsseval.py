"""BSS Eval version 4: how well an estimate matches its reference image, in dB."""

from typing import NamedTuple

import numpy as np


class BssEval(NamedTuple):
    """Ratios in dB, each `(sources, windows)`."""

    SDR: np.ndarray  # signal to distortion
    ISR: np.ndarray  # image to spatial distortion
    SIR: np.ndarray  # signal to interference
    SAR: np.ndarray  # signal to artifacts


def bss_eval(
    references: np.ndarray,
    estimates: np.ndarray,
    sample_rate: int,
    window_seconds: float,
    hop_seconds: float,
) -> BssEval:
    """BSS Eval v4 of one track, as `museval` computes it by default.

    Distortion filters of 512 taps from the whole signal, images, estimate i against reference i.
    Source: Stöter, Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018.

    references, estimates: `(sources, samples, channels)`.
    Windows start every hop and are whole: what is left at the end is not scored. A window longer
    than the signal is the whole signal.

    Returns ratios `(sources, windows)`. A window in which any reference or any estimate is
    silent (its channels sum to 0 at every sample) is NaN for all sources; so a source that is
    silent throughout makes every window NaN. Non-finite samples in an estimate make its own
    ratios NaN.
    """
    from museval import metrics as museval  # takes seconds to import

    references, estimates = np.asarray(references), np.asarray(estimates)
    window = round(window_seconds * sample_rate)
    hop = round(hop_seconds * sample_rate)
    if _any_silent(references) or _any_silent(estimates):
        # museval refuses these, though they are no more than all windows being silent.
        sources, samples, _ = references.shape
        windows = museval.Framing(window, hop, samples).nwin
        return BssEval(*(np.full((sources, windows), np.nan) for _ in range(4)))
    sdr, isr, sir, sar, _ = museval.bss_eval(references, estimates, window=window, hop=hop)
    return BssEval(sdr, isr, sir, sar)


def _any_silent(sources: np.ndarray) -> bool:
    return bool((sources.sum(axis=2) == 0).all(axis=1).any())
