"""Perceptual measures of separated speakers, computed by their libraries: PESQ for the quality of a
voice, STOI for its intelligibility."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from contract.errors import InputError
from contract.scores import PESQ_MODES


def libraries(pesq: bool, stoi: bool) -> dict[str, str]:
    """Returns the version of the library of each measure that is asked for, by its column.

    Args:
        pesq: whether PESQ is asked for.
        stoi: whether STOI is asked for.

    Raises:
        InputError: PESQ is asked for and its library is not installed.
    """
    versions = {}
    if pesq:
        try:
            versions["pesq"] = version("pesq")
        except PackageNotFoundError:
            raise InputError(
                "evaluation.pesq",
                "is true, but the package pesq is not installed",
                "run `pip install -r docker/requirements/pipeline-speech.txt`",
            ) from None
    if stoi:
        versions["stoi"] = version("pystoi")
    return versions


def pesq(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Returns PESQ's MOS-LQO of an estimate: ITU-T P.862.1 at 8 kHz, P.862.2 at 16 kHz.

    Args:
        reference: `(samples,)`.
        estimate: `(samples,)`.
        sample_rate: Hz, a key of `contract.scores.PESQ_MODES`.

    Returns:
        The score. NaN where the reference or the estimate is silent or has non-finite samples, and
        where the standard finds a signal too short or without an utterance.
    """
    from pesq import PesqError, pesq

    if not (_audible(reference) and _audible(estimate)):
        return float("nan")
    mode = PESQ_MODES[sample_rate]
    score = pesq(sample_rate, reference, estimate, mode, on_error=PesqError.RETURN_VALUES)
    return float(score) if score > 0 else float("nan")


def stoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Returns the STOI of an estimate.

    Source: Taal, Hendriks, Heusdens, Jensen, "An Algorithm for Intelligibility Prediction of
    Time–Frequency Weighted Noisy Speech", IEEE TASLP 19(7), 2011.

    Args:
        reference: `(samples,)`.
        estimate: `(samples,)`.
        sample_rate: Hz.

    Returns:
        The score. NaN where the reference or the estimate is silent or has non-finite samples, and
        where less than 0.4 s of the reference are left without its silent parts.
    """
    from pystoi import stoi

    if not (_audible(reference) and _audible(estimate)):
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # the library's sign of too short a signal
        try:
            return float(stoi(reference, estimate, sample_rate))
        except RuntimeWarning:
            return float("nan")


def _audible(signal: np.ndarray) -> bool:
    """Returns whether a signal `(samples,)` is finite and not constant."""
    return bool(np.isfinite(signal).all() and np.ptp(signal) > 0)
