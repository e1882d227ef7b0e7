"""Ideal ratio masks: the best that masking the magnitudes of a mixture could do, nearly.

With X the short-time Fourier transform of the mixture and S_j those of its sources, the mask of
source j and its estimate are

    M_j = |S_j|^a / Σ_i |S_i|^a        estimate_j = STFT⁻¹( M_j X )

in every channel by itself. The masks are made of the references, so no model can know them; that is
why it is called an oracle. For music a is 2, as in the oracle of the SiSEC campaign (Stöter,
Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018; `IRM2` there). For
speech a is 1, and the frames are those of the comparison in Luo, Mesgarani, "Conv-TasNet:
Surpassing Ideal Time–Frequency Magnitude Masking for Speech Separation", IEEE/ACM TASLP 27(8),
2019: 32 ms with a step of 8 ms. As its title says, a network that does not mask magnitudes, such as
SVoice, can be better than this oracle.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

MUSIC_EXPONENT = 2
SPEECH_EXPONENT = 1
SPEECH_FRAME_SECONDS = 0.032
SPEECH_STEP_SECONDS = 0.008
BLOCK_SAMPLES = 2**20  # of a channel that are processed at once


def ideal_ratio_masks(
    references: np.ndarray,
    mixture: np.ndarray,
    frame_length: int,
    frame_step: int,
    exponent: float,
) -> np.ndarray:
    """Separates a mixture by the ideal ratio masks of its sources.

    The window is a periodic Hann window. Steps of more than half a frame would leave samples that
    no window sees, so they are half a frame.

    Args:
        references: `(sources, samples, channels)`.
        mixture: `(samples, channels)`.
        frame_length: of the STFT, in samples.
        frame_step: of the STFT, in samples.
        exponent: `a` in the formula.

    Returns:
        The estimates, `(sources, samples, channels)`, in the type of the references.
    """
    window = scipy.signal.get_window("hann", frame_length)
    step = max(1, min(frame_step, frame_length // 2))
    transform = scipy.signal.ShortTimeFFT(window, step, fs=1)
    estimates = np.empty_like(references)
    samples = len(mixture)
    # Spectra are large. Blocks that start at the same place of a step have the same frames, and a
    # frame beyond either end of a block is all that its samples take part in.
    margin = -(-frame_length // step) * step
    block = -(-BLOCK_SAMPLES // step) * step
    for start in range(0, samples, block):
        end = min(samples, start + block)
        low, high = max(0, start - margin), min(samples, end + margin)
        for channel in range(mixture.shape[1]):
            masked = _masked(
                transform, references[:, low:high, channel], mixture[low:high, channel], exponent
            )
            estimates[:, start:end, channel] = masked[:, start - low : end - low]
    return estimates


def _masked(
    transform: scipy.signal.ShortTimeFFT,
    references: np.ndarray,
    mixture: np.ndarray,
    exponent: float,
) -> np.ndarray:
    """Returns the estimates of a stretch of one channel, `(sources, samples)`.

    Args:
        transform: the STFT.
        references: `(sources, samples)`.
        mixture: `(samples,)`.
        exponent: `a` in the formula.
    """
    samples = len(mixture)
    # The transform takes no signal shorter than half of its window.
    missing = max(0, transform.m_num - samples)
    references = np.pad(references, ((0, 0), (0, missing)))
    # float32 keeps 24 bits of a share, which is more than a mask needs.
    weights = (np.abs(transform.stft(references)) ** exponent).astype(np.float32)
    total = weights.sum(axis=0)
    total[total == 0] = 1  # Where all sources are silent, so are the estimates.
    spectrum = transform.stft(np.pad(mixture, (0, missing)))
    return transform.istft(spectrum * (weights / total), k1=samples + missing)[:, :samples]
