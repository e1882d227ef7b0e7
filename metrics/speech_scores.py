"""The scores of the speech branch: SI-SNR and SDR of SVoice's estimates of the test mixtures, and
PESQ and STOI where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contract.errors import InputError
from contract.layout import ESTIMATES, SPEECH_TEST, SVOICE_RESULTS
from contract.numbers import finite_or_none
from contract.scores import (
    BOUNDS,
    MIXTURE_BOUND,
    ORACLE_BOUND,
    SPEECH_BOUND_COLUMNS,
    SPEECH_METRICS,
    SpeechAggregate,
)
from contract.sources import LENGTH, MIXTURE_PATH, SAMPLE_RATE, path_column
from metrics import audio, perception
from metrics.core.si_snr import score_in_order, score_speakers
from metrics.oracle import (
    SPEECH_EXPONENT,
    SPEECH_FRAME_SECONDS,
    SPEECH_STEP_SECONDS,
    ideal_ratio_masks,
)
from metrics.score_all import Item, KeptScores, score_all
from metrics.tables import TEXT_COLUMNS, read_speech_list, speakers

BATCH = 8  # mixtures that a worker gets at once


def score_speech(
    root: Path,
    kept_scores: KeptScores,
    pesq: bool = False,
    stoi: bool = False,
    workers: int | None = None,
) -> pd.DataFrame:
    """Scores every mixture of the speech test list.

    Args:
        root: the workspace.
        kept_scores: the scores of an earlier run.
        pesq: whether PESQ is asked for.
        stoi: whether STOI is asked for.
        workers: the number of processes; None for one per core.

    Returns:
        One row per mixture × speaker, with the columns `contract.scores.SPEECH_SCORE_COLUMNS`:
        `mixture` (file name without suffix), `speaker` (the reference), `estimate` (the one that
        the best permutation matches to it), `si_snr, si_snr_improvement, sdr_improvement` (dB); and
        `pesq` and `stoi` where they are asked for. `metrics.core.si_snr`, `metrics.core.sdr` and
        `metrics.perception` say when these are NaN or infinite.

    Raises:
        BadFilesError: some mixtures have a file that is missing, unreadable or unlike the mixture.
            All others have been scored, and their scores are kept.
        InputError: the list is wrong, or a library is not installed.
    """
    list_path = root / SPEECH_TEST
    mixtures = read_speech_list(list_path)
    names = speakers(mixtures)
    perceptual = perception.libraries(pesq, stoi)
    estimates = root / SVOICE_RESULTS / ESTIMATES
    rows = mixtures.to_dict("records")
    items = [
        Item(
            (
                root / row[MIXTURE_PATH],
                *(root / row[path_column(name)] for name in names),
                *(estimates / name / row["file"] for name in names),
            ),
            (int(row[LENGTH]), int(row[SAMPLE_RATE]), str(list_path), perceptual),
        )
        for row in rows
    ]
    results = score_all(_score, items, kept_scores, "scoring speech", "mixture", workers, BATCH)
    metrics = (*SPEECH_METRICS, *perceptual)
    return pd.DataFrame(
        [
            {
                "mixture": Path(row["file"]).stem,
                "speaker": name,
                "estimate": names[scores["order"][index]],
                **{metric: scores[metric][index] for metric in metrics},
            }
            for row, scores in zip(rows, results, strict=True)
            for index, name in enumerate(names)
        ]
    )


def bound_speech(root: Path, kept_scores: KeptScores, workers: int | None = None) -> pd.DataFrame:
    """Scores the bounds of every mixture of the speech test list.

    They are scored as the estimates of a model are, see `score_speech`: the mixture as the estimate
    of every speaker, and what ideal ratio masks make of it (`metrics.oracle`).

    Args:
        root: the workspace.
        kept_scores: the scores of an earlier run.
        workers: the number of processes; None for one per core.

    Returns:
        One row per bound × mixture × speaker, with the columns
        `contract.scores.SPEECH_BOUND_COLUMNS`.

    Raises:
        BadFilesError: some mixtures have a file that is missing, unreadable or unlike the mixture.
            All others have been scored, and their scores are kept.
        InputError: the list is wrong.
    """
    list_path = root / SPEECH_TEST
    mixtures = read_speech_list(list_path)
    names = speakers(mixtures)
    rows = mixtures.to_dict("records")
    items = [
        Item(
            (root / row[MIXTURE_PATH], *(root / row[path_column(name)] for name in names)),
            (int(row[LENGTH]), int(row[SAMPLE_RATE]), str(list_path)),
        )
        for row in rows
    ]
    work = (_score_bounds, items, kept_scores, "scoring bounds", "mixture", workers, BATCH)
    results = score_all(*work)
    return pd.DataFrame(
        [
            {
                "bound": bound,
                "mixture": Path(row["file"]).stem,
                "speaker": name,
                **{metric: scores[bound][metric][index] for metric in SPEECH_METRICS},
            }
            for bound in BOUNDS
            for row, scores in zip(rows, results, strict=True)
            for index, name in enumerate(names)
        ],
        columns=SPEECH_BOUND_COLUMNS,
    )


def aggregate_speech(scores: pd.DataFrame) -> SpeechAggregate:
    """Returns the scores of the test set: means over mixtures × speakers.

    Rows without an SI-SNR (NaN), whose reference is silent, are left out of the means in dB; rows
    without a PESQ or a STOI are left out of its mean. A silent estimate (minus infinity) leaves no
    mean in dB.

    Args:
        scores: as from `score_speech`.
    """
    metrics = [column for column in scores if column not in TEXT_COLUMNS]
    return {
        **{metric: finite_or_none(scores[metric].mean()) for metric in metrics},
        "mixtures": int(scores["mixture"].nunique()),
        "silent_references": int(scores["si_snr"].isna().sum()),
    }


def aggregate_speech_bounds(bounds: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Returns the means of each bound over mixtures × speakers.

    Args:
        bounds: as from `bound_speech`.
    """
    return {
        str(bound): {metric: finite_or_none(rows[metric].mean()) for metric in SPEECH_METRICS}
        for bound, rows in bounds.groupby("bound", sort=False)
    }


def _score(
    files: tuple[Path, ...],
    threads: int,
    length: int,
    sample_rate: int,
    list_path: str,
    perceptual: dict[str, str],
) -> dict[str, list[Any]]:
    """Scores a mixture.

    Args:
        files: the mixture, the references, the estimates.
        threads: not needed.
        length: how many samples the mixture has, as the list says.
        sample_rate: Hz, as the list says.
        list_path: the list, for errors.
        perceptual: the perceptual measures that are asked for, each with its library's version,
            on which the scores depend.

    Returns:
        By metric, a list of speakers; and under `order` the index of the estimate of each.
    """
    mixture, *sources = _read(files, audio.AudioFormat(length, sample_rate, 1), list_path)
    references, estimates = np.split(np.stack(sources), 2)
    scores = score_speakers(references, estimates, mixture)
    pairs = [
        (reference, estimates[index])
        for reference, index in zip(references, scores.order, strict=True)
    ]
    return {
        **{name: values.tolist() for name, values in scores._asdict().items()},
        **{
            name: [getattr(perception, name)(*pair, sample_rate) for pair in pairs]
            for name in perceptual
        },
    }


def _score_bounds(
    files: tuple[Path, ...], threads: int, length: int, sample_rate: int, list_path: str
) -> dict[str, dict[str, list[float]]]:
    """Scores the bounds of a mixture.

    Args:
        files: the mixture and the references.
        threads: not needed.
        length: how many samples the mixture has, as the list says.
        sample_rate: Hz, as the list says.
        list_path: the list, for errors.

    Returns:
        By bound and metric, a list of speakers.
    """
    mixture, *references = _read(files, audio.AudioFormat(length, sample_rate, 1), list_path)
    sources = np.stack(references)
    frame, step = (round(s * sample_rate) for s in (SPEECH_FRAME_SECONDS, SPEECH_STEP_SECONDS))
    oracle = ideal_ratio_masks(sources[..., None], mixture[:, None], frame, step, SPEECH_EXPONENT)[
        ..., 0
    ]
    estimates = {MIXTURE_BOUND: np.broadcast_to(mixture, sources.shape), ORACLE_BOUND: oracle}
    return {
        bound: {
            name: values.tolist()
            for name, values in score_in_order(sources, estimates[bound], mixture).items()
        }
        for bound in BOUNDS
    }


def _read(
    files: Sequence[Path], listed_format: audio.AudioFormat, list_path: str
) -> list[np.ndarray]:
    """Reads a mixture and what belongs to it, each `(samples,)`.

    Raises `InputError` if the mixture is unlike what the list says.
    """
    mixture_format = audio.read_format(files[0])
    if mixture_format != listed_format:
        problem = f"has {mixture_format}, but {list_path} says {listed_format}"
        raise InputError(files[0], problem, "run the stage that writes the list again")
    return [audio.read(path, mixture_format)[:, 0] for path in files]
