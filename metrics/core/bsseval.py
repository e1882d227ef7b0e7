"""BSS Eval version 4: how well an estimate matches its reference image, in dB.

For the estimate e of a source s, both `(samples, channels)`, let

    own = the projection of e onto the channels of s, delayed by 0 to 511 samples,
    all = the projection of e onto the channels of all references, delayed likewise.

The filters of the projections are fitted over the whole signal. With |x|² the energy of x in a
window,

    SDR = |s|²   / |s - e|²          ISR = |s|²   / |own - s|²
    SIR = |own|² / |all - own|²      SAR = |all|² / |e - all|²

Source: Stöter, Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018, whose
`museval` gives the same numbers. Correlations are those of Vincent, Gribonval, Févotte,
"Performance measurement in blind audio source separation", IEEE TASLP 14(4), 2006.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from . import toeplitz
from .cores import cores
from .numpy_versions import irfft, rfft, squares

TAPS = 512  # taps of a distortion filter, as everyone has them
MOST_TAPS = 4096  # for which the exact solution is exact; the equations need gigabytes before that
TRANSFORM = 4096  # samples of a Fourier transform, about, unless filters have half as many taps
SHORT_TRANSFORM = 2048  # where there is an inverse transform to each window
PIECE = 1 << 15  # samples that a thread handles at a time, about: what a core's cache holds
PART = 1 << 16  # samples that a thread correlates at a time, about
LISTENED = 1 << 10  # samples that are looked at together for sound
# The most memory that the correlations of all windows may need, as a part of that of the signals.
MEMORY = 0.25
# The largest error of an energy that is computed from correlations, relative to the energy. It
# moves no ratio by more than 1e-7 dB.
LARGEST_ENERGY_ERROR = 1e-8
ROUNDING = 8 * np.finfo(float).eps  # of a correlation, relative to the root of both energies
# The largest error of a difference of projections that is accepted, relative to the difference, if
# the references were white noise. As they are not, half a hundredth of it is left, in decibels.
LARGEST_ERROR = 1e-4
NOTHING = 1e-14  # the relative energy of a difference that is a rounding error
DIGITS = 4  # digits of a sample, 16 bits each, where the equations must be exact
EXACT_PIECE = 1 << 14  # samples, each of several digits, that a thread handles at a time, about
EXACT_PIECES = 8  # such pieces that are summed before the sums are rounded to whole numbers
DETERMINED = 76  # bits between the largest energy and what is added to the diagonal, at most

# Returns an array whose memory is used again: its name, its shape, its type.
Allocate = Callable[..., np.ndarray]


class BssEval(NamedTuple):
    """The ratios of each source in each window, in dB, each `(sources, windows)`."""

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
    """Returns `bss_eval_samples` with window and hop in seconds.

    Args:
        references: `(sources, samples, channels)`.
        estimates: `(sources, samples, channels)`.
        sample_rate: Hz.
        window_seconds: the length of a window, rounded to samples.
        hop_seconds: from the start of one window to the start of the next, rounded to samples.
        threads: as for `bss_eval_samples`.
    """
    window, hop = (round(seconds * sample_rate) for seconds in (window_seconds, hop_seconds))
    return bss_eval_samples(references, estimates, window, hop, threads)


def bss_eval_samples(
    references: np.ndarray,
    estimates: np.ndarray,
    window: int,
    hop: int,
    threads: int | None = None,
    taps: int = TAPS,
) -> BssEval:
    """Returns `bss_eval_windows` for windows of one length in even steps.

    Args:
        references: `(sources, samples, channels)`, real numbers of any type.
        estimates: `(sources, samples, channels)`, real numbers of any type.
        window: the length of a window in samples. A window longer than the signal is the whole
            signal.
        hop: from the start of one window to the start of the next, in samples. Only whole windows
            are scored, and not what is left at the end.
        threads: as for `bss_eval_windows`.
        taps: as for `bss_eval_windows`.

    Raises:
        ValueError: an argument has the wrong shape or is out of range.
    """
    if window < 1 or hop < 1:
        raise ValueError(f"window {window}, hop {hop}")
    samples = _checked(references, estimates)[0].shape[1]
    window = min(window, samples)
    windows = [slice(start, start + window) for start in range(0, samples - window + 1, hop)]
    return bss_eval_windows(references, estimates, windows, threads, taps)


def bss_eval_windows(
    references: np.ndarray,
    estimates: np.ndarray,
    windows: Sequence[slice],
    threads: int | None = None,
    taps: int = TAPS,
    filtered: bool = False,
) -> BssEval:
    """Returns BSS Eval v4 of one track, as `museval.metrics.bss_eval` computes it by default.

    That is: filters that are fitted over the whole signal; reference images; estimate i is scored
    against reference i.

    The memory that it needs beside its arguments hardly depends on the length of the signal. With
    P = sources × channels and filters of 512 taps, it is the larger of 1.1 MB P² for the equations,
    and 1.1 MB P² plus 5 MB P for each thread. For four stereo stems that is 70 to 150 MB. Where
    windows do not overlap, their correlations come on top, 8 kB P² for each window, unless that
    were more than a quarter of the signals (in float64).

    Where rounding errors would show in the ratios, as for band-limited references, the filters are
    fitted again without any: to the correlations of the samples as whole numbers. The ratios are
    those that the formulas say, with museval's eps on the diagonal of the equations, and to 1e-6 dB
    the same on all machines. That takes some seconds and up to six times as long as all else, and
    for four stereo stems 200 MB and 80 MB for each thread.

    Args:
        references: `(sources, samples, channels)`, real numbers of any type.
        estimates: `(sources, samples, channels)`, real numbers of any type.
        windows: of the signal, each with its first sample and the one after its last.
        threads: how many to use; None for one per core. Their number changes no digit of the
            result. The BLAS library, which solves for the filters, may change the last ones.
        taps: of the filters, up to `MOST_TAPS`.
        filtered: whether a filtered reference counts as signal, as in `bss_eval_sources` of the
            versions 2 and 3. Then SDR = |own|² / |e - own|², and ISR is NaN.

    Returns:
        The ratios in dB, `(sources, windows)`. They are NaN for all sources in a window in which
        any reference or any estimate is silent (its channels sum to 0 at every sample), and so in
        every window if a source is silent throughout. Non-finite samples in an estimate make its
        own ratios NaN; in a reference, all ratios. A ratio to nothing, as the SDR of an estimate
        that equals its reference, is infinite, where rounding gives `museval` some 300 dB.

    Raises:
        ValueError: an argument has the wrong shape or is out of range.
    """
    references, estimates = _checked(references, estimates)
    if not 1 <= taps <= MOST_TAPS:
        raise ValueError(f"filters of {taps} taps: they can have 1 to {MOST_TAPS}")
    sources, samples, channels = references.shape
    lengths = [window.stop - window.start for window in windows]
    with ThreadPoolExecutor(threads or cores()) as pool:
        sums = _correlations(references, estimates, windows, taps, pool)
        if not np.isfinite(sums.among_references).all():
            return BssEval(*np.full((4, sources, len(windows)), np.nan))
        finite = np.isfinite(sums.with_estimates).all(axis=(0, 1))
        finite_sources = finite.reshape(sources, channels).all(axis=1)

        def measured(filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """Returns `_energies` of all windows: from their correlations where these have digits
            enough, otherwise from the signals."""
            energies = np.empty((7, sources, len(windows)))
            audible = np.empty((2, sources, len(windows)), dtype=bool)
            missing = np.ones(len(windows), dtype=bool)
            if sums.windows is not None:
                energies, errors = _energies_of_correlations(sums.windows, filters, filtered, pool)
                audible = sums.windows.audible
                # Where a ratio is none, there is nothing to be accurate about.
                scored = finite_sources[:, None] & audible.all(axis=(0, 1))
                with np.errstate(invalid="ignore"):
                    accurate = errors <= LARGEST_ENERGY_ERROR * energies
                missing = (scored & ~accurate).any(axis=(0, 1))
            for length in sorted({lengths[number] for number in missing.nonzero()[0]}):
                chosen = (missing & (np.array(lengths) == length)).nonzero()[0]
                starts = [windows[number].start for number in chosen]
                energies[:, :, chosen], audible[:, :, chosen] = _energies(
                    references, estimates, filters, starts, length, filtered, pool
                )
            return energies, audible

        try:
            filters, corrections = _filters(sums.among_references, sums.with_estimates, channels)
            energies, audible = measured(filters)
            errors = _errors(corrections, sums.among_references, channels)
            errors *= sum(lengths) / samples  # as the windows have them all together
            accurate = _negligible(errors[:, finite_sources], energies[:, finite_sources])
        except np.linalg.LinAlgError:
            accurate = False
        if not accurate:
            equations = _exact_correlations(references, estimates, finite, taps, pool)
            energies, audible = measured(_exact_filters(*equations, channels))
    valid = finite_sources[:, None] & audible.all(axis=(0, 1))
    # |s|², |s - e|², |own - s|², |own|², |all - own|², |all|², |e - all|².
    reference, distortion, spatial, own, interference, everything, artifacts = energies
    ratios = (
        _decibels(own if filtered else reference, distortion),
        np.full_like(own, np.nan) if filtered else _decibels(reference, spatial),
        _decibels(own, interference),
        _decibels(everything, artifacts),
    )
    return BssEval(*(np.where(valid, ratio, np.nan) for ratio in ratios))


def _checked(references: np.ndarray, estimates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as arrays, or raises `ValueError` if their shapes are wrong."""
    references, estimates = np.asarray(references), np.asarray(estimates)
    if references.ndim != 3 or references.shape != estimates.shape or references.size == 0:
        raise ValueError(f"references {references.shape}, estimates {estimates.shape}")
    return references, estimates


class _Windows(NamedTuple):
    """Of each window, what follows from the samples in it alone. p and q are channels of sources.

    Attributes:
        among_references: the correlations of the references, `(windows, lags, p, q)`.
        with_estimates: those of the references with the estimates, `(windows, lags, p, q)`.
        energies: |s|², |s - e|² and |e|², `(3, sources, windows)`.
        audible: whether the reference and the estimate are not silent, `(2, sources, windows)`.
    """

    among_references: np.ndarray
    with_estimates: np.ndarray
    energies: np.ndarray
    audible: np.ndarray


class _Correlations(NamedTuple):
    """The sums over n of p[n - lag] q[n], for lags 0 to `taps` - 1.

    p is a channel of any reference. The axes p and q run over sources × channels.

    Attributes:
        among_references: q is a channel of any reference, `(lags, p, q)`.
        with_estimates: q is a channel of any estimate, `(lags, p, q)`.
        windows: the same in each window; None if windows overlap, or are too short and too many
            for it.
    """

    among_references: np.ndarray
    with_estimates: np.ndarray
    windows: _Windows | None


class _Part(NamedTuple):
    """Samples that one thread correlates.

    Attributes:
        window: the number of the window that they belong to; None between windows.
        begin: the first sample.
        end: the one after the last.
        past: the first sample of the past that they are correlated with.
    """

    window: int | None
    begin: int
    end: int
    past: int


def _correlations(
    references: np.ndarray,
    estimates: np.ndarray,
    windows: Sequence[slice],
    taps: int,
    pool: Executor,
) -> _Correlations:
    """Returns the correlations of the whole signal and, in the same pass, those of the windows.

    The windows' own lack the products of a window's samples with those before its start, which are
    computed apart.

    Args:
        references: `(sources, samples, channels)`.
        estimates: `(sources, samples, channels)`.
        windows: of the signal.
        taps: of the filters.
        pool: the threads.
    """
    sources, samples, channels = references.shape
    signals = sources * channels
    apart = all(one.stop <= other.start for one, other in pairwise(windows))
    counted = apart and len(windows) * signals * taps <= MEMORY * samples
    chosen = windows if counted else ()
    step, size, _ = _blocks(samples, taps, SHORT_TRANSFORM)
    empty = _ReusedMemory().empty
    own = np.zeros((2, len(chosen), taps, signals, signals))
    energies = np.zeros((3, len(chosen), signals))
    audible = np.zeros((2, len(chosen), sources), dtype=bool)
    rest = np.zeros((taps, signals, 2 * signals))

    def lags(past: np.ndarray, now: Sequence[np.ndarray], size: int) -> np.ndarray:
        """Returns correlations, summed over blocks, `(lags, p, 2 q)`.

        Args:
            past: references that begin taps - 1 samples before their block, `(size, blocks, p)`.
            now: the blocks of references and those of estimates, `(samples, blocks, q)`.
            size: of the transforms.
        """
        shape = (size // 2 + 1, past.shape[1])
        past = rfft(past, size, empty("spectra of past", *shape, signals, dtype=complex), axis=0)
        spectra = empty("spectra of now", *shape, 2 * signals, dtype=complex)
        for blocks, out in zip(now, np.split(spectra, 2, axis=2), strict=True):
            rfft(blocks, size, out, axis=0)
        np.conjugate(past, out=past)
        products = empty("products", shape[0], signals, 2 * signals, dtype=complex)
        np.matmul(past.swapaxes(1, 2), spectra, out=products)
        moved = irfft(products, size, empty("lags", size, signals, 2 * signals), axis=0)
        # As the past begins taps - 1 samples earlier, lag 0 stands at 1 - taps, and the last at 0.
        return np.concatenate([moved[size - taps + 1 :], moved[:1]])

    @np.errstate(invalid="ignore", over="ignore")  # an estimate may hold anything
    def correlate(part: _Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the correlations of a part, and its energies and whether it can be heard, as in
        `energies` and `audible`."""
        blocks = -(-(part.end - part.begin) // step)
        past = empty("past", taps - 1 + blocks * step, signals)
        estimate = empty("estimate", blocks * step, signals)
        _copy(references, part.past, part.end, part.begin - taps + 1, out=past)
        _copy(estimates, part.begin, part.end, part.begin, out=estimate)
        reference = past[taps - 1 :]
        now = [
            array.reshape(blocks, step, signals).swapaxes(0, 1) for array in (reference, estimate)
        ]
        difference = np.subtract(reference, estimate, out=empty("difference", *estimate.shape))
        return (
            lags(sliding_window_view(past, size, axis=0)[::step].transpose(2, 0, 1), now, size),
            np.stack([_sums_of_squares(array) for array in (reference, difference, estimate)]),
            np.stack([_audible(array, channels) for array in (reference, estimate)]),
        )

    parts = list(_parts(chosen, samples, max(1, PART // step) * step))
    # Always the same parts in the same order, so that the number of threads changes nothing.
    for part, (part_lags, part_energies, part_audible) in zip(
        parts, pool.map(correlate, parts), strict=True
    ):
        if part.window is None:
            rest += part_lags
        else:
            own[:, part.window] += np.split(part_lags, 2, axis=2)
            energies[:, part.window] += part_energies
            audible[:, part.window] |= part_audible

    @np.errstate(invalid="ignore", over="ignore")
    def across_starts(group: Sequence[slice]) -> np.ndarray:
        """Returns the correlations of the first samples of some windows with those before them."""
        size = scipy.fft.next_fast_len(2 * taps, real=True)
        past = np.zeros((size, len(group), signals))
        now = np.zeros((2, taps - 1, len(group), signals))
        for number, window in enumerate(group):
            first = window.start - taps + 1
            _copy(references, 0, window.start, first, out=past[: taps - 1, number])
            for array, out in zip((references, estimates), now[:, :, number], strict=True):
                _copy(array, window.start, window.stop, window.start, out=out)
        return lags(past, now, size)

    group = max(1, PART // (8 * taps))
    firsts = range(0, len(chosen), group) if taps > 1 else ()
    for group_lags in pool.map(across_starts, [chosen[n : n + group] for n in firsts]):
        rest += group_lags
    total = own.sum(axis=1) + np.split(rest, 2, axis=2)
    if not counted:
        return _Correlations(*total, None)
    by_source = energies.reshape(3, len(chosen), sources, channels).sum(axis=3).swapaxes(1, 2)
    return _Correlations(*total, _Windows(*own, by_source, audible.swapaxes(1, 2)))


def _parts(windows: Sequence[slice], samples: int, most: int) -> Iterator[_Part]:
    """Yields the parts of a signal: of its windows, and of what is between them.

    Args:
        windows: of the signal, one after the other.
        samples: of the signal.
        most: samples in a part.
    """
    stretches: list[tuple[int | None, int, int]] = []
    end = 0
    for number, window in enumerate(windows):
        stretches += [(None, end, window.start), (number, window.start, window.stop)]
        end = window.stop
    for number, start, stop in [*stretches, (None, end, samples)]:
        past = 0 if number is None else start
        for begin in range(start, stop, most):
            yield _Part(number, begin, min(begin + most, stop), past)


def _sums_of_squares(array: np.ndarray) -> np.ndarray:
    """`(samples, signals)` → `(signals,)`."""
    return np.einsum("ns,ns->s", array, array)


def _audible(array: np.ndarray, channels: int) -> np.ndarray:
    """Returns which sources are not silent: `(samples, sources × channels)` → `(sources,)`."""
    audible = np.zeros(array.shape[1] // channels, dtype=bool)
    for begin in range(0, len(array), LISTENED):  # mostly, the first samples tell
        samples = array[begin : begin + LISTENED]
        audible |= samples.reshape(len(samples), -1, channels).sum(axis=2).any(axis=0)
        if audible.all():
            break
    return audible


def _exact_correlations(
    references: np.ndarray, estimates: np.ndarray, finite: np.ndarray, taps: int, pool: Executor
) -> tuple[toeplitz.Exact, toeplitz.Exact]:
    """Returns what `_correlations` does, without a rounding error.

    The samples are taken apart into digits of 16 bits. Sums of products of such digits are whole
    numbers, which Fourier transforms find with errors of less than a tenth.

    Args:
        references: `(sources, samples, channels)`.
        estimates: `(sources, samples, channels)`.
        finite: whether all samples are, for each channel of the estimates, `(sources × channels,)`.
            A channel with others is taken for silent.
        taps: of the filters, up to `MOST_TAPS`.
        pool: the threads.

    Returns:
        Both arrays with digits `(digits, lags, p, q)`.
    """
    sources, samples, channels = references.shape
    signals = sources * channels
    step, size, count = _blocks(samples, taps)
    blocks = max(1, EXACT_PIECE // step)
    share = EXACT_PIECES * blocks
    empty = _ReusedMemory().empty

    def cut(begin: int, end: int) -> np.ndarray:
        """Returns samples of the references and of the estimates, `(2, signals, 1, samples)`."""
        out = empty("now", 2, signals, 1, end - begin)
        for array, part in zip((references, estimates), out, strict=True):
            _cut(array, [0], samples, begin, out=part)
        out[1, ~finite] = 0
        return out

    parts = [(first * step, (first + blocks) * step) for first in range(0, count, blocks)]
    peaks = _largest(pool.map(lambda part: np.abs(cut(*part)).max(axis=(1, 2, 3)), parts))
    # Of the first digits. Without a limit, the scale for samples of 1e-310 would be infinite.
    exponents = np.maximum(np.frexp(peaks)[1], -1000) - toeplitz.BITS + 1
    scales = np.ldexp(1.0, -exponents)[:, None, None, None]
    needed = pool.map(lambda part: _digits_needed(cut(*part) * scales), parts)
    of_references, of_estimates = _largest(needed)
    of_now = max(of_references, of_estimates)

    def sums(begin: int) -> np.ndarray:
        """Returns the correlations over a share of the blocks, `(digits, lags, p, 2 q)`."""
        shape = (size // 2 + 1, signals, 2 * signals)
        spectra = np.zeros((of_references + of_now - 1, *shape), complex)
        last = min(begin + share, count)
        for first in range(begin, last, blocks):
            number = min(blocks, last - first)
            now = cut(first * step, (first + number) * step)
            now *= scales
            past = empty("past", signals, 1, taps - 1 + number * step)
            _cut(references, [0], samples, first * step - taps + 1, out=past)
            past = toeplitz.in_digits(past[:, 0] * scales[0, 0], of_references)
            past = _spectra(
                _overlapping(past.swapaxes(0, 1), step, size), size, "spectra of past", empty
            )
            np.conjugate(past, out=past)
            now = toeplitz.in_digits(now.reshape(2 * signals, number, step), of_now)[::-1]
            now = _spectra(now.swapaxes(0, 1), size, "spectra of now", empty)
            products = empty("products", *shape, dtype=complex)
            # Digit i of one signal and digit j of another make digit i + j. The digits of `now`
            # stand in reverse order, so that the partners of some in a row stand in a row, too.
            for place, total in enumerate(spectra):
                low, high = max(0, place - of_now + 1), min(place + 1, of_references)
                partners = slice(
                    (of_now - 1 - place + low) * number, (of_now - 1 - place + high) * number
                )
                chosen = past[:, low * number : high * number]
                total += np.matmul(chosen.swapaxes(1, 2), now[:, partners], out=products)
        np.conjugate(spectra, out=spectra)
        lags = np.empty((len(spectra), taps, *shape[1:]), np.int64)
        for digit, total in zip(lags, spectra, strict=True):
            digit[:] = np.rint(scipy.fft.irfft(total, n=size, axis=0)[taps - 1 :: -1])
        return lags

    total = sum(pool.map(sums, range(0, count, share)))
    among_references, with_estimates = np.split(total, 2, axis=3)
    return (
        toeplitz.Exact(among_references, int(2 * exponents[0])),
        toeplitz.Exact(with_estimates, int(exponents.sum())),
    )


def _largest(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the largest of each place of some arrays."""
    return np.max(list(arrays), axis=0)


def _digits_needed(signals: np.ndarray) -> np.ndarray:
    """Returns how many digits some signals have.

    Args:
        signals: `(2, ...)`, scaled so that the first digit stands before the point.

    Returns:
        For each of the two, 1 to `DIGITS`, `(2,)`. What is less than the last of these digits, 2⁻⁶⁴
        of the largest sample, does not count.
    """
    needed = np.full(len(signals), DIGITS)
    for digits in range(DIGITS - 1, 0, -1):
        scaled = signals * 2.0 ** (toeplitz.BITS * (digits - 1))
        whole = (scaled == np.rint(scaled)).reshape(len(signals), -1).all(axis=1)
        needed[whole] = digits
        if not whole.any():
            break
    return needed


def _filters(
    among_references: np.ndarray, with_estimates: np.ndarray, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distortion filters, the least-squares fit to each channel of the estimates.

    Args:
        among_references: `(lags, p, q)`, as from `_correlations`.
        with_estimates: `(lags, p, q)`, as from `_correlations`.
        channels: how many a source has.

    Returns:
        `(lags, p, 2 × q)`: the filter from p, a channel of any reference, to the projection of q, a
        channel of any estimate. The first q are projected onto their own reference alone, so that
        the filter is 0 where p belongs to another; the others are projected onto all references.
        And by how much the filters were corrected, see `toeplitz.solve`, of the same shape.

    Raises:
        LinAlgError: the equations are singular to rounding.
    """
    signals = among_references.shape[1]
    blocks = among_references.swapaxes(1, 2).copy()
    blocks[0] += np.finfo(float).eps * np.eye(signals)  # as museval does
    everything = toeplitz.solve(blocks[None], with_estimates[None])
    own = toeplitz.solve(*(_same_source(array, channels) for array in (blocks, with_estimates)))
    filters, corrections = (_joined(*pair) for pair in zip(everything, own, strict=True))
    return filters, corrections


def _exact_filters(
    among_references: toeplitz.Exact, with_estimates: toeplitz.Exact, channels: int
) -> np.ndarray:
    """Returns the filters of `_filters`, without their rounding errors.

    Args:
        among_references: digits `(digits, lags, p, q)`, as from `_exact_correlations`.
        with_estimates: digits `(digits, lags, p, q)`, as from `_exact_correlations`.
        channels: how many a source has.
    """
    blocks = among_references._replace(digits=among_references.digits.swapaxes(2, 3)[:, None])
    energies = np.diagonal(toeplitz.in_floats(blocks)[0][0, 0])
    # As museval does, unless the samples have magnitudes of thousands: 32 digits do not hold more.
    floor = max(-52, math.frexp(energies.max())[1] - DETERMINED)
    blocks = toeplitz.with_diagonal(blocks, floor)
    right = with_estimates._replace(digits=with_estimates.digits[:, None])
    own = (
        equations._replace(digits=_same_source(equations.digits[:, 0], channels))
        for equations in (blocks, right)
    )
    return _joined(toeplitz.solve_exactly(blocks, right), toeplitz.solve_exactly(*own))


def _joined(everything: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Returns filters as `_filters` does.

    Args:
        everything: those of the projections onto all references, `(1, lags, p, q)`.
        own: those of the projections onto the own reference, `(sources, lags, channels, channels)`.
    """
    taps, signals, _ = everything.shape[1:]
    filters = np.zeros((taps, signals, 2, signals))
    filters[:, :, 1] = everything[0]
    _same_source(filters[:, :, 0], own.shape[2])[:] = own
    return filters.reshape(taps, signals, 2 * signals)


def _same_source(array: np.ndarray, channels: int) -> np.ndarray:
    """Returns a view of `(..., lags, p, q)` where p and q are channels of one source:
    `(..., sources, lags, channels, channels)`."""
    *before, lags, signals, _ = array.shape
    by_source = array.reshape(*before, lags, signals // channels, channels, -1, channels)
    return np.einsum("...kscsd->...skcd", by_source)


def _errors(corrections: np.ndarray, among_references: np.ndarray, channels: int) -> np.ndarray:
    """Returns the energies that the errors of the filters would have, applied to white references.

    Args:
        corrections: `(lags, p, 2 × q)`, as from `_filters`.
        among_references: `(lags, p, q)`, as from `_correlations`.
        channels: how many a source has.

    Returns:
        The errors of own - s, all - own and e - all, `(3, sources)`.
    """
    by_signal = np.einsum("p,kpq,kpq->q", among_references[0].diagonal(), corrections, corrections)
    own, everything = by_signal.reshape(2, -1, channels).sum(axis=2)
    return np.stack([own, own + everything, everything])


def _negligible(errors: np.ndarray, energies: np.ndarray) -> bool:
    """Returns whether the errors of the filters change the ratios by less than 1e-6 dB.

    Ratios of more than 140 dB do not count: they are ratios to nothing, as is the SAR of a mixture.

    Args:
        errors: `(3, sources)`, as from `_errors`.
        energies: `(7, sources, windows)`, as from `_energies`.
    """
    reference, _, spatial, own, interference, everything, artifacts = energies.sum(axis=2)
    signals = np.stack([reference, own, everything])
    differences = np.stack([spatial, interference, artifacts])
    nothing = differences <= NOTHING * signals
    return bool((nothing | (errors <= LARGEST_ERROR**2 * differences)).all())


def _energies_of_correlations(
    windows: _Windows, filters: np.ndarray, filtered: bool, pool: Executor
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the energies that `_energies` does, and how large their rounding errors may be.

    The energy of a sum of filtered references is a sum, over pairs of them and over lags, of their
    correlation times that of their filters. A cut window is 0 outside, so that its correlations
    tell all.

    Args:
        windows: the correlations of each window.
        filters: `(lags, p, 2 × q)`, as from `_filters`.
        filtered: as for `bss_eval_windows`.
        pool: the threads.

    Returns:
        The energies and their errors, both `(7, sources, windows)`.
    """
    count, taps, signals, _ = windows.among_references.shape
    sources = windows.energies.shape[1]
    size = scipy.fft.next_fast_len(2 * taps - 1, real=True)
    among_references = windows.among_references.reshape(count, -1)
    powers = np.einsum("wpp->wp", windows.among_references[:, 0])
    reference, distortion, estimate = windows.energies
    own, everything = filters[:, :, :signals], filters[:, :, signals:]
    spatial = own.copy()
    spatial[0] -= np.eye(signals)

    @np.errstate(invalid="ignore", over="ignore")
    def of_signal(q: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns energies of channel q: |own - s|², |own|², |all - own|², |all|², `(4, windows)`;
        the squares of their errors; the products of e with own and with all, `(2, windows)`; and
        the squares of the latter's errors, but for the energy of e."""
        sets = np.stack([array[:, :, q] for array in (spatial, own, everything - own, everything)])
        spectra = scipy.fft.rfft(sets, n=size, axis=1)
        products = spectra[..., None] * spectra.conj()[..., None, :]
        weights = scipy.fft.irfft(products, n=size, axis=1)[:, :taps]
        weights[:, 1:] *= 2  # a negative lag of p and q is the positive one of q and p
        energies = weights.reshape(4, -1) @ among_references.T
        squares = np.einsum("wp,ipq,wq->iw", powers, np.square(weights).sum(axis=1), powers)
        both = np.stack([own[:, :, q], everything[:, :, q]])
        with_estimate = np.einsum("wkp,ikp->iw", windows.with_estimates[..., q], both)
        return energies, squares, with_estimate, np.einsum("wp,ikp->iw", powers, both**2)

    by_signal = list(pool.map(of_signal, range(signals)))
    energies, squared, with_estimate, squared_with = (
        np.stack(arrays, axis=1).reshape(len(arrays[0]), sources, -1, count).sum(axis=2)
        for arrays in zip(*by_signal, strict=True)
    )
    spatial_energy, own_energy, interference, all_energy = energies
    with_own, with_all = with_estimate
    if filtered:
        distortion = estimate - 2 * with_own + own_energy
    artifacts = estimate - 2 * with_all + all_energy
    with np.errstate(invalid="ignore", over="ignore"):
        squared_apart = 4 * estimate * squared_with + estimate**2 + squared[[1, 3]]
        exact = np.zeros_like(reference)
        squared_distortion = squared_apart[0] if filtered else exact
        squares = np.stack([exact, squared_distortion, *squared, squared_apart[1]])
        errors = ROUNDING * np.sqrt(squares)
    measured = (reference, distortion, spatial_energy, own_energy)
    return np.stack([*measured, interference, all_energy, artifacts]), errors


def _energies(
    references: np.ndarray,
    estimates: np.ndarray,
    filters: np.ndarray,
    starts: Sequence[int],
    window: int,
    filtered: bool,
    pool: Executor,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the energies in the module's formulas, and where signals can be heard.

    Args:
        references: `(sources, samples, channels)`.
        estimates: `(sources, samples, channels)`.
        filters: `(lags, p, 2 × q)`, as from `_filters`.
        starts: the first sample of each window.
        window: samples.
        filtered: as for `bss_eval_windows`.
        pool: the threads.

    Returns:
        The energies `(7, sources, windows)`: |s|², |s - e|², |own - s|², |own|², |all - own|²,
        |all|², |e - all|². If filtered, |e - own|² stands for |s - e|².
        And whether the reference and the estimate are not silent, `(2, sources, windows)`.
    """
    sources, _, channels = references.shape
    signals = sources * channels
    taps = len(filters)
    step, size, count = _blocks(window + taps - 1, taps)
    filter_spectra = scipy.fft.rfft(filters, n=size, axis=0)
    blocks = min(count, max(1, PIECE // step))
    windows = max(1, PIECE // (count * step))
    pieces = [
        (slice(first, first + windows), block)
        for first in range(0, len(starts), windows)
        for block in range(0, count, blocks)
    ]
    empty = _ReusedMemory().empty

    @np.errstate(invalid="ignore")
    def measure(piece: tuple[slice, int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Measures some blocks of some windows."""
        chosen, block = piece
        begin, end = block * step, min(block + blocks, count) * step
        past = empty("past", signals, len(starts[chosen]), taps - 1 + end - begin)
        estimate = empty("estimate", *past.shape[:2], end - begin)
        _cut(references, starts[chosen], window, begin - taps + 1, out=past)
        _cut(estimates, starts[chosen], window, begin, out=estimate)
        past_spectra = _spectra(_overlapping(past, step, size), size, "spectra", empty)
        projections = _projections(past_spectra, filter_spectra, size, empty)[..., taps - 1 :]
        shape = (sources, channels, len(starts[chosen]), -1, step)
        reference, estimate = past[..., taps - 1 :].reshape(shape), estimate.reshape(shape)
        own, everything = projections.reshape(2, *shape)
        differences = (
            (reference, None),
            (own if filtered else reference, estimate),
            (own, reference),
            (own, None),
            (everything, own),
            (everything, None),
            (estimate, everything),
        )
        difference = empty("difference", *own.shape)
        energies = [
            _energy(signal if other is None else np.subtract(signal, other, out=difference))
            for signal, other in differences
        ]
        audible = [signal.sum(axis=1).any(axis=(2, 3)) for signal in (reference, estimate)]
        return energies, audible

    energies = np.zeros((7, sources, len(starts)))
    audible = np.zeros((2, sources, len(starts)), dtype=bool)
    measured = zip(pieces, pool.map(measure, pieces), strict=True)
    for (chosen, _), (piece_energies, piece_audible) in measured:
        energies[:, :, chosen] += piece_energies
        audible[:, :, chosen] |= piece_audible
    return energies, audible


def _energy(signals: np.ndarray) -> np.ndarray:
    """Sums the squares: `(sources, channels, windows, blocks, step)` → `(sources, windows)`."""
    return squares(signals).sum(axis=(1, 3))


def _blocks(length: int, taps: int, transform: int = TRANSFORM) -> tuple[int, int, int]:
    """Returns how to take `length` samples in blocks.

    Each is preceded by `taps` - 1 other samples in its transform.

    Returns:
        The samples of a block, the samples of its transform, and the number of blocks.
    """
    count = -(-length // (max(transform, 2 * taps) - taps + 1))
    size = scipy.fft.next_fast_len(-(-length // count) + taps - 1, real=True)
    step = size - taps + 1
    return step, size, -(-length // step)


class _ReusedMemory(threading.local):
    """Arrays whose memory a thread uses again and again.

    New ones would cost a quarter of the whole time: the system hands out memory of this size page
    by page, and takes it back when it is freed.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def empty(self, name: str, *shape: int, dtype: type = float) -> np.ndarray:
        """Returns what `np.empty` does, but the same memory for the same name."""
        size = math.prod(shape)
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = np.empty(size, dtype)
        return self._arrays[name][:size].reshape(shape)


def _cut(
    signals: np.ndarray, starts: Sequence[int], window: int, begin: int, out: np.ndarray
) -> None:
    """Copies the same part of several windows, with zeros outside of a window.

    Args:
        signals: `(sources, samples, channels)`.
        starts: the first sample of each window.
        window: samples.
        begin: the first sample of the part, counted from the start of its window.
        out: where the part goes, `(sources × channels, windows, samples)`.
    """
    end = begin + out.shape[2]
    low = max(begin, 0)
    high = max(min(end, window), low)
    out[..., : low - begin] = 0
    out[..., high - begin :] = 0
    by_source = out.reshape(len(signals), -1, *out.shape[1:])
    for number, start in enumerate(starts):
        inner = signals[:, start + low : start + high].swapaxes(1, 2)
        by_source[:, :, number, low - begin : high - begin] = inner


def _copy(signals: np.ndarray, low: int, high: int, begin: int, out: np.ndarray) -> None:
    """Copies a part of signals, with zeros outside of some range.

    Args:
        signals: `(sources, samples, channels)`.
        low: the first sample of the range.
        high: the one after its last.
        begin: the first sample of the part.
        out: where the part goes, `(samples, sources × channels)`.
    """
    low = max(low, begin)
    high = max(min(high, begin + len(out)), low)
    out[: low - begin] = 0
    out[high - begin :] = 0
    to = out.reshape(len(out), len(signals), signals.shape[2])[low - begin : high - begin]
    samples = signals[:, low:high].swapaxes(0, 1)
    # The two channels of a sample as one complex number are copied four times as fast.
    if _are_pairs(samples) and _are_pairs(to):
        samples, to = samples.view(_PAIRS[samples.dtype]), to.view(_PAIRS[to.dtype])
    to[:] = samples


# Complex numbers by the type of their parts, in the order of bytes of this machine.
_PAIRS = {np.dtype(np.float32): np.complex64, np.dtype(np.float64): np.complex128}


def _are_pairs(samples: np.ndarray) -> bool:
    """Returns whether the two channels of samples can be viewed as parts of complex numbers."""
    beside = samples.shape[-1] == 2 and samples.strides[-1] == samples.itemsize
    return beside and samples.dtype in _PAIRS


def _overlapping(signals: np.ndarray, step: int, size: int) -> np.ndarray:
    """Returns a view of overlapping blocks.

    `(signals, windows, taps - 1 + blocks × step)` → `(signals, windows, blocks, size)`.
    """
    return sliding_window_view(signals, size, axis=2)[:, :, ::step]


def _spectra(blocks: np.ndarray, size: int, name: str, empty: Allocate) -> np.ndarray:
    """Returns the spectra of blocks, with the frequency first for the products of matrices.

    `(signals, windows, blocks, samples)` → `(frequencies, windows × blocks, signals)`.
    """
    signals, windows, count, _ = blocks.shape
    spectra = empty("spectra of signals", signals, windows, count, size // 2 + 1, dtype=complex)
    rfft(blocks, size, out=spectra)
    by_frequency = empty(name, size // 2 + 1, windows * count, signals, dtype=complex)
    by_frequency[:] = spectra.reshape(signals, windows * count, -1).T
    return by_frequency


def _projections(
    spectra: np.ndarray, filter_spectra: np.ndarray, size: int, empty: Allocate
) -> np.ndarray:
    """Returns filtered blocks of the references.

    `(frequencies, blocks, p)` and `(frequencies, p, q)` → `(q, blocks, size)`.
    """
    frequencies, blocks, _ = spectra.shape
    signals = filter_spectra.shape[2]
    products = empty("products", frequencies, blocks, signals, dtype=complex)
    np.matmul(spectra, filter_spectra, out=products)
    by_signal = empty("products by signal", signals, blocks, frequencies, dtype=complex)
    by_signal[:] = products.T
    return irfft(by_signal, size, out=empty("projections", signals, blocks, size))


def _decibels(energy: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Returns the ratio of two energies of one shape in dB, infinite where the second is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0, np.inf, 10 * np.log10(energy / error))
