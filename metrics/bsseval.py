"""BSS Eval version 4: how well an estimate matches its reference image, in dB.

For estimate e of source s (`(samples, channels)` both), with

    own  = the projection of e onto the channels of s, delayed by 0 to 511 samples,
    all  = its projection onto the channels of all references, so delayed,

whose filters come from the whole signal, and with |x|² the energy of x in a window,

    SDR = |s|²   / |s - e|²          ISR = |s|²   / |own - s|²
    SIR = |own|² / |all - own|²      SAR = |all|² / |e - all|²

Source: Stöter, Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018, whose
`museval` gives the same numbers. Correlations are those of Vincent, Gribonval, Févotte,
"Performance measurement in blind audio source separation", IEEE TASLP 14(4), 2006.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg

TAPS = 512  # of a distortion filter
TRANSFORM = 8192  # samples of a transform, about: what a core's cache holds
PIECE = 1 << 17  # samples that a thread takes at a time


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
    threads: int | None = None,
) -> BssEval:
    """`bss_eval_samples` with its windows in seconds, rounded to samples at `sample_rate` (Hz)."""
    window, hop = (round(seconds * sample_rate) for seconds in (window_seconds, hop_seconds))
    return bss_eval_samples(references, estimates, window, hop, threads)


def bss_eval_samples(
    references: np.ndarray,
    estimates: np.ndarray,
    window: int,
    hop: int,
    threads: int | None = None,
) -> BssEval:
    """BSS Eval v4 of one track, as `museval.metrics.bss_eval` computes it by default: filters of
    512 taps from the whole signal, images, estimate i against reference i.

    references, estimates: `(sources, samples, channels)`, real numbers of any type.
    window, hop: samples. Windows start every hop and are whole: what is left at the end is not
    scored. A window longer than the signal is the whole signal.
    threads: how many to use, all cores if None. They change no digit of the result; those of the
    BLAS library, which solves for the filters, may change the last ones.

    Returns ratios `(sources, windows)`. A window in which any reference or any estimate is silent
    (its channels sum to 0 at every sample) is NaN for all sources; so a source that is silent
    throughout makes every window NaN. Non-finite samples in an estimate make its own ratios NaN, in
    a reference all of them. A ratio to nothing, as the SDR of an estimate equal to its reference,
    is infinite (`museval` gives some 300 dB for it, from rounding).

    Memory beside the arguments, in bytes, whatever the lengths of signal and windows, with
    P = sources × channels: some 8 (512 P)² for the equations.
    Raises: `ValueError` for arguments of the wrong shape or range.
    """
    references, estimates = np.asarray(references), np.asarray(estimates)
    if references.ndim != 3 or references.shape != estimates.shape or references.size == 0:
        raise ValueError(f"references {references.shape}, estimates {estimates.shape}")
    if window < 1 or hop < 1:
        raise ValueError(f"window {window}, hop {hop}")
    sources, samples, channels = references.shape
    window = min(window, samples)
    starts = range(0, samples - window + 1, hop)
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        among, across = _correlations(references, estimates, pool)
        if not np.isfinite(among).all():
            return BssEval(*np.full((4, sources, len(starts)), np.nan))
        filters = _filters(among, across, channels)
        energies, heard = _energies(references, estimates, filters, starts, window, pool)
    scored = np.isfinite(across).all(axis=(0, 2)).reshape(sources, channels).all(axis=1)
    valid = scored[:, None] & heard.all(axis=(0, 1))
    # The order of the sums is that of the formulas above, |s|² and |own|² and |all|² once each.
    reference, distortion, spatial, own, interference, everything, artifacts = energies
    ratios = (
        (reference, distortion),
        (reference, spatial),
        (own, interference),
        (everything, artifacts),
    )
    return BssEval(*(np.where(valid, _decibels(*ratio), np.nan) for ratio in ratios))


def _correlations(references, estimates, pool):
    """With p a channel of any reference, counted through `(sources, channels)`, and lags 0 to 511:
    sum over n of p[n - lag] q[n], with q a channel of any reference, and of any estimate.

    Returns: two arrays `(p, q, lags)`.
    """
    samples = references.shape[1]
    step, size, count = _blocks(samples)
    together = max(1, PIECE // step)  # blocks

    @np.errstate(invalid="ignore")  # an estimate may hold anything
    def spectra(first):
        start, stop = first * step, min(first + together, count) * step
        past = _cut(references, start - TAPS + 1, stop, 0, samples)
        now = np.concatenate([past[TAPS - 1 :], _cut(estimates, start, stop, 0, samples)], axis=1)
        past = scipy.fft.rfft(_overlapping(past, step, size), axis=0)
        now = scipy.fft.rfft(now.reshape(-1, step, now.shape[1]).swapaxes(0, 1), n=size, axis=0)
        return np.conjugate(past, out=past).swapaxes(1, 2) @ now

    # Added up in the order of the pieces, so that the number of threads changes nothing.
    total = sum(pool.map(spectra, range(0, count, together)))
    lags = scipy.fft.irfft(np.conjugate(total, out=total), n=size, axis=0)[TAPS - 1 :: -1]
    return np.split(np.moveaxis(lags, 0, 2), 2, axis=1)


def _filters(among, across, channels):
    """The distortion filters, least squares of each channel of the estimates.

    Returns: `(lags, p, 2 × q)`, with p a channel of any reference, q one of any estimate: the
    filters from p to its projection, first on the channels of its own reference alone (so 0 where
    p is of another), then on all.
    """
    signals = len(among)
    filters = np.zeros((TAPS, signals, 2, signals))
    for first in range(0, signals, channels):
        own = slice(first, first + channels)
        filters[:, own, 0, own] = _least_squares(among[own, own], across[own, own])
    filters[:, :, 1] = _least_squares(among, across)
    return filters.reshape(TAPS, signals, 2 * signals)


def _least_squares(among, across):
    """`(p, p, lags)` and `(p, q, lags)` → `(lags, p, q)`."""
    signals = len(among)
    right = across.swapaxes(1, 2).reshape(signals * TAPS, -1)
    try:
        factor = scipy.linalg.cho_factor(_gram(among).T, overwrite_a=True, check_finite=False)
        solved = scipy.linalg.cho_solve(factor, right, check_finite=False)
    except np.linalg.LinAlgError:
        solved = _any_solution(_gram(among).T, right)
    return solved.reshape(signals, TAPS, -1).swapaxes(0, 1)


def _any_solution(gram, right):
    """Of singular equations, as of a stem that is there twice or has two equal channels. Any will
    do, since all of them give the same projection: it has zeros for what depends on the others.
    """
    tolerance = len(gram) * np.finfo(float).eps * gram.diagonal().max()
    factor, order, rank, _ = scipy.linalg.lapack.dpstrf(gram, tol=tolerance, overwrite_a=True)
    chosen = order[:rank] - 1
    solved = np.zeros_like(right)
    solved[chosen] = scipy.linalg.cho_solve(
        (factor[:rank, :rank], False), right[chosen], check_finite=False
    )
    return solved


def _gram(among):
    """The matrix of the equations, `(p × lags, p × lags)`: blocks of Toeplitz matrices."""
    signals = len(among)
    lags = np.concatenate([among.swapaxes(0, 1)[:, :, :0:-1], among], axis=2)  # from -511 to 511
    blocks = np.lib.stride_tricks.sliding_window_view(lags, TAPS, axis=2)[..., ::-1]
    gram = np.array(blocks.swapaxes(1, 2)).reshape(signals * TAPS, signals * TAPS)
    gram.flat[:: len(gram) + 1] += np.finfo(float).eps
    return gram


def _energies(references, estimates, filters, starts, window, pool):
    """Energies `(6, sources, windows)`, in the order of the module's formulas."""
    sources, _, channels = references.shape
    signals = sources * channels
    step, size, count = _blocks(window + TAPS - 1)
    spectra = scipy.fft.rfft(filters, n=size, axis=0)
    blocks = min(count, max(1, PIECE // step))
    windows = max(1, PIECE // (count * step))
    pieces = [
        (slice(first, first + windows), block)
        for first in range(0, len(starts), windows)
        for block in range(0, count, blocks)
    ]

    @np.errstate(invalid="ignore")
    def measure(piece):
        chosen, block = piece
        begin, end = block * step, min(block + blocks, count) * step
        reference, estimate = (
            np.stack(
                [
                    _cut(audio, start + begin - past, start + end, start, start + window)
                    for start in starts[chosen]
                ],
                axis=1,
            )
            for audio, past in ((references, TAPS - 1), (estimates, 0))
        )
        spectrum = scipy.fft.rfft(_overlapping(reference, step, size), axis=0)
        shape = spectrum.shape
        projected = spectrum.reshape(len(spectrum), -1, signals) @ spectra
        projected = scipy.fft.irfft(projected, n=size, axis=0)[TAPS - 1 :]
        projected = projected.reshape(step, *shape[1:3], 2, signals)
        own, everything = projected[..., 0, :], projected[..., 1, :]
        reference, estimate = (
            # (blocks × step, windows, signals) → (step, blocks, windows, signals)
            audio.reshape(-1, step, *audio.shape[1:]).swapaxes(0, 1)
            for audio in (reference[TAPS - 1 :], estimate)
        )
        parts = (
            reference,
            reference - estimate,
            own - reference,
            own,
            everything - own,
            everything,
            estimate - everything,
        )
        energies = np.stack([np.einsum("tbws,tbws->sw", part, part) for part in parts])
        energies = energies.reshape(len(parts), sources, channels, -1).sum(axis=2)
        heard = np.stack(
            [
                np.any(audio.reshape(*audio.shape[:-1], sources, channels).sum(-1), axis=(0, 1)).T
                for audio in (reference, estimate)
            ]
        )
        return energies, heard

    energies = np.zeros((7, sources, len(starts)))
    heard = np.zeros((2, sources, len(starts)), dtype=bool)
    for (chosen, _), (more, sound) in zip(pieces, pool.map(measure, pieces), strict=True):
        energies[:, :, chosen] += more
        heard[:, :, chosen] |= sound
    return energies, heard


def _blocks(length):
    """How to take `length` samples in blocks, each preceded by 511 others in its transform.

    Returns: samples of a block, samples of a transform, number of blocks.
    """
    count = -(-length // (TRANSFORM - TAPS + 1))
    size = scipy.fft.next_fast_len(-(-length // count) + TAPS - 1, real=True)
    step = size - TAPS + 1
    return step, size, -(-length // step)


def _overlapping(audio, step, size):
    """`(511 + blocks × step, ...)` → a view `(size, blocks, ...)`."""
    views = np.lib.stride_tricks.sliding_window_view(audio, size, axis=0)[::step]
    return np.moveaxis(views, -1, 0)


def _cut(audio, start, stop, low, high):
    """Samples start to stop of `(sources, samples, channels)`, zeros outside low to high, as
    float64 `(stop - start, sources × channels)`."""
    sources, _, channels = audio.shape
    cut = np.zeros((stop - start, sources, channels))
    inner = slice(max(start, low), min(stop, high))
    cut[inner.start - start : max(inner.stop, inner.start) - start] = audio[:, inner].swapaxes(0, 1)
    return cut.reshape(stop - start, -1)


def _decibels(above, below):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below == 0, np.inf, 10 * np.log10(above / below))
