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

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import scipy.fft

from metrics import toeplitz

TAPS = 512  # of a distortion filter
TRANSFORM = 4096  # samples of a transform, about
PIECE = 1 << 15  # samples that a thread takes at a time, about: what a core's cache holds
PARTS = 16  # of the signal, each summed up by one thread


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

    Memory beside the arguments, whatever the lengths of signal and windows, with P = sources ×
    channels: at most 1.1 MB P² for the equations (4.3 MB P² where they are singular) or, if more,
    4 MB P for each thread and 1.1 MB P²; for four stereo stems 70 to 140 MB.
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
    scored = np.isfinite(across).all(axis=(0, 1)).reshape(sources, channels).all(axis=1)
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

    Returns: two arrays `(lags, p, q)`.
    """
    sources, samples, channels = references.shape
    signals = sources * channels
    step, size, count = _blocks(samples)
    blocks = max(1, PIECE // step)
    share = max(blocks, -(-count // PARTS))
    shape = (size // 2 + 1, signals, 2 * signals)
    empty = _Reused().empty

    @np.errstate(invalid="ignore")  # an estimate may hold anything
    def spectra(first):
        total = np.zeros(shape, complex)
        last = min(first + share, count)
        for block in range(first, last, blocks):
            begin, end = block * step, min(block + blocks, last) * step
            past = empty("past", signals, 1, TAPS - 1 + end - begin)
            now = empty("now", 2, signals, 1, end - begin)
            _cut(references, [0], samples, begin - TAPS + 1, out=past)
            _cut(estimates, [0], samples, begin, out=now[1])
            now[0] = past[..., TAPS - 1 :]
            now = now.reshape(2 * signals, 1, -1, step)
            past = _spectra(_overlapping(past, step, size), size, "spectra of past", empty)
            now = _spectra(now, size, "spectra of now", empty)
            np.conjugate(past, out=past)
            products = empty("products", *shape, dtype=complex)
            total += np.matmul(past.swapaxes(1, 2), now, out=products)
        return total

    # Always the same parts in the same order, so that the number of threads changes nothing.
    total = np.zeros(shape, complex)
    for part in pool.map(spectra, range(0, count, share)):
        total += part
    lags = scipy.fft.irfft(np.conjugate(total, out=total), n=size, axis=0)[TAPS - 1 :: -1]
    return np.split(lags, 2, axis=2)


def _filters(among, across, channels):
    """The distortion filters, least squares of each channel of the estimates.

    Returns: `(lags, p, 2 × q)`, with p a channel of any reference, q one of any estimate: the
    filters from p to its projection, first on the channels of its own reference alone (so 0 where
    p is of another), then on all.
    """
    signals = among.shape[1]
    blocks = among.swapaxes(1, 2).copy()
    blocks[0] += np.finfo(float).eps * np.eye(signals)  # as museval does
    filters = np.zeros((TAPS, signals, 2, signals))
    filters[:, :, 1] = toeplitz.solve(blocks[None], across[None])[0]

    def own(audio):
        by_source = audio.reshape(TAPS, signals // channels, channels, -1, channels)
        return np.einsum("kscsd->skcd", by_source)

    own(filters[:, :, 0])[:] = toeplitz.solve(own(blocks), own(across))
    return filters.reshape(TAPS, signals, 2 * signals)


def _energies(references, estimates, filters, starts, window, pool):
    """Of every window the energies in the module's formulas, `(7, sources, windows)`: |s|²,
    |s - e|², |own - s|², |own|², |all - own|², |all|², |e - all|². And where references and
    estimates are not silent, `(2, sources, windows)`.
    """
    sources, _, channels = references.shape
    signals = sources * channels
    step, size, count = _blocks(window + TAPS - 1)
    filter_spectra = scipy.fft.rfft(filters, n=size, axis=0)
    blocks = min(count, max(1, PIECE // step))
    windows = max(1, PIECE // (count * step))
    pieces = [
        (slice(first, first + windows), block)
        for first in range(0, len(starts), windows)
        for block in range(0, count, blocks)
    ]
    empty = _Reused().empty

    @np.errstate(invalid="ignore")
    def measure(piece):
        chosen, block = piece
        begin, end = block * step, min(block + blocks, count) * step
        past = empty("past", signals, len(starts[chosen]), TAPS - 1 + end - begin)
        estimate = empty("estimate", *past.shape[:2], end - begin)
        _cut(references, starts[chosen], window, begin - TAPS + 1, out=past)
        _cut(estimates, starts[chosen], window, begin, out=estimate)
        past_spectra = _spectra(_overlapping(past, step, size), size, "spectra", empty)
        projections = _projections(past_spectra, filter_spectra, size, empty)[..., TAPS - 1 :]
        shape = (sources, channels, len(starts[chosen]), -1, step)
        reference, estimate = past[..., TAPS - 1 :].reshape(shape), estimate.reshape(shape)
        own, everything = projections.reshape(2, *shape)
        differences = (
            (reference, None),
            (reference, estimate),
            (own, reference),
            (own, None),
            (everything, own),
            (everything, None),
            (estimate, everything),
        )
        difference = empty("difference", *own.shape)
        energies = [
            _energy(one if other is None else np.subtract(one, other, out=difference))
            for one, other in differences
        ]
        heard = [audio.sum(axis=1).any(axis=(2, 3)) for audio in (reference, estimate)]
        return energies, heard

    energies = np.zeros((7, sources, len(starts)))
    heard = np.zeros((2, sources, len(starts)), dtype=bool)
    for (chosen, _), (more, sound) in zip(pieces, pool.map(measure, pieces), strict=True):
        energies[:, :, chosen] += more
        heard[:, :, chosen] |= sound
    return energies, heard


def _energy(audio):
    """`(sources, channels, windows, blocks, step)` → `(sources, windows)`"""
    return np.vecdot(audio, audio).sum(axis=(1, 3))


def _blocks(length):
    """How to take `length` samples in blocks, each preceded by 511 others in its transform.

    Returns: samples of a block, samples of a transform, number of blocks.
    """
    count = -(-length // (TRANSFORM - TAPS + 1))
    size = scipy.fft.next_fast_len(-(-length // count) + TAPS - 1, real=True)
    step = size - TAPS + 1
    return step, size, -(-length // step)


class _Reused(threading.local):
    """Arrays that a thread uses again and again. New ones every time would cost a quarter of all
    the time: the system gives memory of this size page by page, and takes it back when freed."""

    def __init__(self):
        self._arrays = {}

    def empty(self, name, *shape, dtype=float):
        """As `np.empty`, but the same memory for the same name."""
        size = math.prod(shape)
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = np.empty(size, dtype)
        return self._arrays[name][:size].reshape(shape)


def _cut(audio, starts, window, begin, out):
    """Of windows of `(sources, samples, channels)` the samples from begin on, counted from the
    window's start, with zeros outside of it, to `out`: `(sources × channels, windows, samples)`."""
    end = begin + out.shape[2]
    low = max(begin, 0)
    high = max(min(end, window), low)
    out[..., : low - begin] = 0
    out[..., high - begin :] = 0
    by_source = out.reshape(len(audio), -1, *out.shape[1:])
    for number, start in enumerate(starts):
        inner = audio[:, start + low : start + high].swapaxes(1, 2)
        by_source[:, :, number, low - begin : high - begin] = inner


def _overlapping(audio, step, size):
    """`(signals, windows, 511 + blocks × step)` → a view `(signals, windows, blocks, size)`"""
    return np.lib.stride_tricks.sliding_window_view(audio, size, axis=2)[:, :, ::step]


def _spectra(audio, size, name, empty):
    """`(signals, windows, blocks, samples)` → `(frequencies, windows × blocks, signals)`"""
    signals, windows, blocks, _ = audio.shape
    found = empty("found", signals, windows, blocks, size // 2 + 1, dtype=complex)
    np.fft.rfft(audio, n=size, out=found)
    turned = empty(name, size // 2 + 1, windows * blocks, signals, dtype=complex)
    turned[:] = found.reshape(signals, windows * blocks, -1).T
    return turned


def _projections(spectra, filter_spectra, size, empty):
    """`(frequencies, blocks, p)` and `(frequencies, p, q)` → `(q, blocks, size)`"""
    frequencies, blocks, _ = spectra.shape
    signals = filter_spectra.shape[2]
    products = empty("products", frequencies, blocks, signals, dtype=complex)
    np.matmul(spectra, filter_spectra, out=products)
    turned = empty("turned", signals, blocks, frequencies, dtype=complex)
    turned[:] = products.T
    return np.fft.irfft(turned, n=size, out=empty("projections", signals, blocks, size))


def _decibels(above, below):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below == 0, np.inf, 10 * np.log10(above / below))
