"""Scores the separated speakers of mixtures from files, as papers on WSJ0-mix do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .audio import read_together
from .errors import InputError
from .folders import Track
from .kept import Item
from .sdr import sdr
from .si_snr import best_order, si_snr

METRICS = {"si_snr": "SI-SNR", "sdr": "SDR"}
# Over the mixture, where its file is there.
IMPROVEMENTS = {f"{metric}_improvement": f"{name}i" for metric, name in METRICS.items()}
COLUMNS = ("mixture", "speaker", "estimate", *METRICS, *IMPROVEMENTS)


def mixture_item(mixture: Track, sample_rate: int | None) -> Item:
    """Returns what the speakers of a mixture are scored from.

    Args:
        mixture: its files.
        sample_rate: what the audio is converted to, in Hz; None for its own rate.
    """
    files = {f"reference of {name}": path for name, path in mixture.references.items()}
    if mixture.mixture is not None:
        files["mixture"] = mixture.mixture
    files |= {f"estimate of {name}": path for name, path in mixture.estimates.items()}
    names = {"speakers": list(mixture.references), "estimates": list(mixture.estimates)}
    return Item(files, {"sample_rate": sample_rate, **names})


def score_mixture(
    files: dict[str, Path],
    threads: int,
    sample_rate: int | None,
    speakers: Sequence[str],
    estimates: Sequence[str],
) -> dict[str, Any]:
    """Scores the speakers of a mixture, under the permutation of the estimates with the largest sum
    of SI-SNR.

    Args:
        files: as from `mixture_item`.
        threads: not needed.
        sample_rate: what the audio is converted to, in Hz; None for its own rate.
        speakers: the names of the references.
        estimates: those of the estimates, as many.

    Returns:
        Under `notes` what is to be said about the mixture, under `estimate` the name of the
        estimate of each speaker, and by metric a list of speakers (dB). Without the file of the
        mixture the improvements are NaN.

    Raises:
        InputError: a file is no audio, is not mono, or does not fit to the others.
    """
    signals, _, notes = read_together(files, sample_rate)
    for name, path in files.items():
        if signals[name].shape[1] != 1:
            raise InputError(path, f"has {signals[name].shape[1]} channels, but speech is mono")
    references, separated = (
        np.stack([signals[f"{kind} of {name}"][:, 0] for name in names])
        for kind, names in (("reference", speakers), ("estimate", estimates))
    )
    order = best_order(references, separated)
    scores = _metrics(references, separated[order])
    if "mixture" in signals:
        mixture = signals["mixture"][:, 0]
        unprocessed = _metrics(references, np.broadcast_to(mixture, references.shape))
    else:
        unprocessed = dict.fromkeys(METRICS, np.full(len(speakers), np.nan))
    with np.errstate(invalid="ignore"):
        scores |= {
            f"{metric}_improvement": scores[metric] - unprocessed[metric] for metric in METRICS
        }
    return {
        "notes": notes,
        "estimate": [estimates[index] for index in order],
        **{metric: values.tolist() for metric, values in scores.items()},
    }


def _metrics(references: np.ndarray, estimates: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the metrics of estimates in the order of their references, each `(speakers,)`.

    Args:
        references: `(speakers, samples)`.
        estimates: `(speakers, samples)`.
    """
    si_snrs = si_snr(references, estimates)
    pairs = zip(references, estimates, strict=True)
    sdrs = np.array([sdr(reference, [estimate])[0] for reference, estimate in pairs])
    sdrs[np.isnan(si_snrs)] = np.nan  # a constant reference is as silent as one of zeros
    return {"si_snr": si_snrs, "sdr": sdrs}


def mixture_scores(mixtures: Sequence[Track], results: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Returns the scores of each mixture and speaker.

    Args:
        mixtures: at least one.
        results: of each, as from `score_mixture`.

    Returns:
        One row per mixture × speaker, with the columns `COLUMNS`: `speaker` (the reference),
        `estimate` (the one that the best permutation matches to it), and the metrics in dB.
    """
    rows = [
        {"mixture": mixture.name, "speaker": speaker, "estimate": result["estimate"][index]}
        | {metric: result[metric][index] for metric in (*METRICS, *IMPROVEMENTS)}
        for mixture, result in zip(mixtures, results, strict=True)
        for index, speaker in enumerate(mixture.references)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def mixture_summary(scores: pd.DataFrame) -> str:
    """Returns the means over all mixtures and speakers, as a table of text.

    Args:
        scores: as from `mixture_scores`.
    """
    names = METRICS | (IMPROVEMENTS if scores[list(IMPROVEMENTS)].notna().any(axis=None) else {})
    silent = int(scores["si_snr"].isna().sum())
    return "\n".join(
        [
            f"{'':<8}" + "".join(f"{title:>8}" for title in names.values()),
            f"{'mean':<8}" + "".join(f"{scores[metric].mean():>8.2f}" for metric in names),
            "In dB, over mixtures and speakers, under the permutation with the best SI-SNR.",
            f"Mixtures: {scores['mixture'].nunique()}; silent references, left out: {silent}.",
        ]
    )
