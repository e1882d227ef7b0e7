"""PESQ and STOI of separated speakers, by their libraries: how a voice sounds, how well it is
understood."""

import warnings
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from metrics.errors import InputError

PESQ_MODES = {8000: "nb", 16000: "wb"}  # narrow and wide band, by the sample rate in Hz


def libraries(pesq: bool, stoi: bool) -> dict[str, str]:
    """The wanted measures, each with the version of its library.

    Raises: `InputError` if `pesq` is wanted and not installed.
    """
    wanted = {}
    if pesq:
        try:
            wanted["pesq"] = version("pesq")
        except PackageNotFoundError:
            expected = "it (`pip install -r docker/requirements/pipeline-speech.txt`)"
            raise InputError("evaluation.pesq", "no package pesq", expected) from None
    if stoi:
        wanted["stoi"] = version("pystoi")
    return wanted


def pesq(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """PESQ's MOS-LQO of an estimate `(samples,)` of 8 kHz (ITU-T P.862.1) or 16 kHz (P.862.2).

    NaN where the reference or the estimate is silent, has non-finite samples, or is too short or
    holds no utterance by the standard's own judgement.
    """
    from pesq import PesqError, pesq

    if not (_heard(reference) and _heard(estimate)):
        return float("nan")
    mode = PESQ_MODES[sample_rate]
    score = pesq(sample_rate, reference, estimate, mode, on_error=PesqError.RETURN_VALUES)
    return float(score) if score > 0 else float("nan")


def stoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """STOI of an estimate `(samples,)` (Taal, Hendriks, Heusdens, Jensen, IEEE TASLP 19(7), 2011).

    NaN where the reference or the estimate is silent, has non-finite samples, or is too short: less
    than 0.4 s without its silence.
    """
    from pystoi import stoi

    if not (_heard(reference) and _heard(estimate)):
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # how the library says that it is too short
        try:
            return float(stoi(reference, estimate, sample_rate))
        except RuntimeWarning:
            return float("nan")


def _heard(signal: np.ndarray) -> bool:
    return bool(np.isfinite(signal).all() and np.ptp(signal) > 0)
