"""BSS Eval with the arguments, the return values and the checks of `museval.metrics`.

The formulas are those of `bsseval`, one floor up, in the versions 2 to 4 of BSS Eval:

- version 4 fits the filters over the whole signal, versions 2 and 3 in each window anew
  (`framewise_filters`);
- `bss_eval_images` compares with the reference image itself, `bss_eval_sources` with what filters
  make of it (`bsseval_sources_version`).

Sources: Vincent, Gribonval, Févotte, "Performance measurement in blind audio source separation",
IEEE TASLP 14(4), 2006; Stöter, Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign",
LVA/ICA 2018.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..bsseval import BssEval, bss_eval_windows

MAX_SOURCES = 100
LARGEST_SIR = 1e3  # dB, which stands for an infinite one where the best order is looked for

Ratios = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def bss_eval(
    reference_sources: np.ndarray,
    estimated_sources: np.ndarray,
    window: float = 2 * 44100,
    hop: float = 1.5 * 44100,
    compute_permutation: bool = False,
    filters_len: int = 512,
    framewise_filters: bool = False,
    bsseval_sources_version: bool = False,
) -> Ratios:
    """Returns the ratios of BSS Eval in each window, and the order of the estimates.

    Args:
        reference_sources: `(sources, samples, channels)`; or `(sources, samples)`; or `(samples,)`.
        estimated_sources: of the same shape.
        window: the length of a window in samples; infinity for the whole signal. Windows begin and
            end at the sample before, if it is no whole number.
        hop: from the start of one window to the start of the next, in samples. Only whole windows
            are scored.
        compute_permutation: whether to find the order of the estimates with the largest mean SIR:
            one for all windows, or one for each window if the filters are fitted in each. Windows
            that have no SIR do not count.
        filters_len: the taps of the filters, at most 4096.
        framewise_filters: whether to fit the filters in each window, as versions 2 and 3 do.
        bsseval_sources_version: whether a filtered reference counts as signal, as in
            `bss_eval_sources` of versions 2 and 3. ISR is then NaN.

    Returns:
        SDR, ISR, SIR and SAR in dB, each `(sources, windows)`, NaN in windows where a reference or
        an estimate is silent. And the index of the estimate that is matched to each reference,
        `(sources, windows)` if the filters are fitted in each window, otherwise `(sources, 1)`. If
        the arguments are empty, so is all this.

    Raises:
        ValueError: the shapes differ, a source is silent throughout, or an argument is out of
            range.
    """
    references = np.atleast_3d(reference_sources)
    estimates = np.atleast_3d(estimated_sources)
    validate(references, estimates)
    if references.size == 0:
        return (np.array([]), np.array([]), np.array([]), np.array([]), np.array([]))
    sources, samples, _ = references.shape
    windows = _windows(window, hop, samples)
    score = _score_in_each_window if framewise_filters else _score
    sources_in_order = np.arange(sources)
    # Each rotation of the estimates pairs every reference with another estimate: those are all.
    ratios = np.full((4, sources, sources, len(windows)), np.nan)
    for rotation in range(sources if compute_permutation else 1):
        order = np.roll(sources_in_order, -rotation)
        ratios[:, sources_in_order, order] = score(
            references, estimates[order], windows, filters_len, bsseval_sources_version
        )
    orders = np.tile(sources_in_order[:, None], len(windows) if framewise_filters else 1)
    if compute_permutation:
        orders = _best_orders(ratios[2], each_window=framewise_filters)
    sdr, isr, sir, sar = ratios[:, sources_in_order[:, None], orders, np.arange(len(windows))]
    return (sdr, isr, sir, sar, orders)


def bss_eval_sources(
    reference_sources: np.ndarray,
    estimated_sources: np.ndarray,
    compute_permutation: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns SDR, SIR, SAR and the order of `bss_eval_sources`, version 3, for the whole signal.

    Args:
        reference_sources: as for `bss_eval`.
        estimated_sources: as for `bss_eval`.
        compute_permutation: as for `bss_eval`.
    """
    return bss_eval_sources_framewise(
        reference_sources, estimated_sources, math.inf, math.inf, compute_permutation
    )


def bss_eval_sources_framewise(
    reference_sources: np.ndarray,
    estimated_sources: np.ndarray,
    window: float = 30 * 44100,
    hop: float = 15 * 44100,
    compute_permutation: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns SDR, SIR, SAR and the orders of `bss_eval_sources`, version 3, in each window.

    Args:
        reference_sources: as for `bss_eval`.
        estimated_sources: as for `bss_eval`.
        window: as for `bss_eval`.
        hop: as for `bss_eval`.
        compute_permutation: as for `bss_eval`.
    """
    sdr, _, sir, sar, order = bss_eval(
        reference_sources,
        estimated_sources,
        window,
        hop,
        compute_permutation,
        framewise_filters=True,
        bsseval_sources_version=True,
    )
    return (sdr, sir, sar, order)


def bss_eval_images(
    reference_sources: np.ndarray,
    estimated_sources: np.ndarray,
    compute_permutation: bool = True,
) -> Ratios:
    """Returns what `bss_eval` does in version 3, for the whole signal.

    Args:
        reference_sources: as for `bss_eval`.
        estimated_sources: as for `bss_eval`.
        compute_permutation: as for `bss_eval`.
    """
    return bss_eval_images_framewise(
        reference_sources, estimated_sources, math.inf, math.inf, compute_permutation
    )


def bss_eval_images_framewise(
    reference_sources: np.ndarray,
    estimated_sources: np.ndarray,
    window: float = 30 * 44100,
    hop: float = 15 * 44100,
    compute_permutation: bool = False,
) -> Ratios:
    """Returns what `bss_eval` does in version 3, in each window.

    Args:
        reference_sources: as for `bss_eval`.
        estimated_sources: as for `bss_eval`.
        window: as for `bss_eval`.
        hop: as for `bss_eval`.
        compute_permutation: as for `bss_eval`.
    """
    return bss_eval(
        reference_sources,
        estimated_sources,
        window,
        hop,
        compute_permutation,
        framewise_filters=True,
    )


def validate(reference_sources: np.ndarray, estimated_sources: np.ndarray) -> None:
    """Raises an error if sources cannot be scored, and warns if there are none.

    Args:
        reference_sources: `(sources, samples, channels)`.
        estimated_sources: `(sources, samples, channels)`.

    Raises:
        ValueError: the shapes differ or have too many axes, a source is silent throughout (its
            channels sum to 0 at every sample), or there are more than `MAX_SOURCES`.
    """
    shapes = f"references {reference_sources.shape}, estimates {estimated_sources.shape}"
    if reference_sources.shape != estimated_sources.shape:
        raise ValueError(f"{shapes}: the shapes must be the same")
    if reference_sources.ndim > 3:
        raise ValueError(f"{shapes}: there are at most 3 axes, (sources, samples, channels)")
    for name, signals in (("reference", reference_sources), ("estimate", estimated_sources)):
        if signals.size == 0:
            warnings.warn(f"no {name} has a sample: there are no scores", stacklevel=3)
        elif _any_silent(signals):
            raise ValueError(f"{shapes}: one {name} is silent throughout, so there are no scores")
    if len(reference_sources) > MAX_SOURCES:
        raise ValueError(f"{shapes}: there are at most {MAX_SOURCES} sources, the first axis")


def _any_silent(signals: np.ndarray) -> bool:
    """Returns whether the channels of any source sum to 0 at every sample.

    Args:
        signals: `(sources, samples, ...)`.
    """
    mono = signals.sum(axis=tuple(range(2, signals.ndim)))
    return not mono.any(axis=1).all()


def _windows(window: float, hop: float, samples: int) -> list[slice]:
    """Returns the windows of a signal, as `bss_eval` describes them."""
    if not (window >= 1 and hop > 0):
        raise ValueError(f"window {window:g}, hop {hop:g}: both are numbers of samples")
    if window >= samples:
        return [slice(0, samples)]
    count = 1 if math.isinf(hop) else math.floor((samples - window + hop) / hop)
    starts = [number * hop if number else 0 for number in range(count)]
    return [slice(math.floor(start), min(math.floor(start + window), samples)) for start in starts]


def _score(
    references: np.ndarray,
    estimates: np.ndarray,
    windows: Sequence[slice],
    taps: int,
    filtered: bool,
) -> BssEval:
    """Returns the ratios in each window, with filters that are fitted over the whole signal."""
    return bss_eval_windows(references, estimates, windows, taps=taps, filtered=filtered)


def _score_in_each_window(
    references: np.ndarray,
    estimates: np.ndarray,
    windows: Sequence[slice],
    taps: int,
    filtered: bool,
) -> np.ndarray:
    """Returns the ratios in each window, with filters that are fitted in it.

    Returns:
        `(4, sources, windows)`.
    """
    ratios = np.full((4, len(references), len(windows)), np.nan)
    for number, window in enumerate(windows):
        signals = references[:, window], estimates[:, window]
        if not any(map(_any_silent, signals)):
            whole = [slice(0, window.stop - window.start)]
            ratios[..., number] = np.stack(_score(*signals, whole, taps, filtered))[..., 0]
    return ratios


def _best_orders(sir: np.ndarray, each_window: bool) -> np.ndarray:
    """Returns the order of the estimates with the largest mean SIR.

    Args:
        sir: of each pair, dB, `(references, estimates, windows)`.
        each_window: whether each window has an order of its own.

    Returns:
        The index of the estimate for each reference, `(sources, windows)` or `(sources, 1)`.
    """
    # Where there is no SIR, none of the pairs has one, or none of an estimate: 0 favours no order.
    gains = np.nan_to_num(sir, nan=0.0, posinf=LARGEST_SIR, neginf=-LARGEST_SIR)
    if not each_window:
        gains = gains.mean(axis=2, keepdims=True)
    orders = [
        linear_sum_assignment(of_window, maximize=True)[1] for of_window in np.moveaxis(gains, 2, 0)
    ]
    return np.stack(orders, axis=1)
