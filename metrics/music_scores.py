"""The scores of the music branch: BSS Eval of Spleeter's estimates of the test tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contract.errors import InputError
from contract.layout import ESTIMATES, MUSIC_TEST, SPLEETER_RESULTS
from contract.lists import DURATION_TOLERANCE
from contract.numbers import finite_or_none
from contract.scores import BSS_METRICS, MusicHeadlines
from contract.sources import DURATION, MIXTURE_PATH, STEMS, path_column
from metrics import audio
from metrics.bsseval import bss_eval
from metrics.score_all import Item, KeptScores, score_all
from metrics.tables import read_music_list, unscored


def score_music(
    root: Path,
    window_seconds: float,
    hop_seconds: float,
    kept_scores: KeptScores,
    workers: int | None = None,
) -> pd.DataFrame:
    """Scores every track of the music test list.

    Args:
        root: the workspace.
        window_seconds: the length of a frame.
        hop_seconds: from the start of one frame to the start of the next.
        kept_scores: the scores of an earlier run.
        workers: the number of processes; None for one per core.

    Returns:
        One row per track × target × frame: `track, target, time` (s, where the frame starts), `SDR,
        SIR, SAR, ISR` (dB). `metrics.bsseval` says when they are NaN or infinite.

    Raises:
        BadFilesError: some tracks have a file that is missing, unreadable or unlike the mixture.
            All others have been scored, and their scores are kept.
        InputError: the list is wrong.
    """
    list_path = root / MUSIC_TEST
    tracks = read_music_list(list_path).to_dict("records")
    items = [
        Item(
            _files(root, track),
            (track[DURATION], str(list_path), window_seconds, hop_seconds),
        )
        for track in tracks
    ]
    results = score_all(_score, items, kept_scores, "scoring music", "track", workers)
    return pd.DataFrame(
        [
            {
                "track": track["track"],
                "target": target,
                "time": frame * hop_seconds,
                **{metric: scores[metric][source][frame] for metric in BSS_METRICS},
            }
            for track, scores in zip(tracks, results, strict=True)
            for source, target in enumerate(STEMS)
            for frame in range(len(scores["SDR"][source]))
        ]
    )


def music_by_track(frames: pd.DataFrame) -> pd.DataFrame:
    """Returns the scores of each track and target, medians over its frames.

    `museval` leaves the same frames out of its medians, for it writes infinities as NaN.

    Args:
        frames: as from `score_music`.

    Returns:
        One row per track × target, with the columns `contract.scores.MUSIC_SCORE_COLUMNS`: `SDR,
        SIR, SAR, ISR` (dB) are medians over the frames where they are finite, NaN if there are
        none. `nan_frames` is how many of the `frames` have no finite SDR.
    """
    return pd.DataFrame(
        [
            {
                "track": track,
                "target": target,
                **{metric: median(rows[metric]) for metric in BSS_METRICS},
                "frames": len(rows),
                "nan_frames": int((~np.isfinite(rows["SDR"])).sum()),
            }
            for (track, target), rows in frames.groupby(["track", "target"], sort=False)
        ]
    )


def aggregate_music(scores: pd.DataFrame) -> MusicHeadlines:
    """Returns what scores.json holds: medians over the tracks, as the SiSEC campaigns aggregate.

    Scores that are NaN are left out. `metrics.tables.unscored` says which tracks have no scores.

    Args:
        scores: as from `music_by_track`.
    """
    by_target = scores.groupby("target")
    unscored_tracks = len(unscored(scores))
    return {
        **_over_tracks(by_target, median),
        "mean_over_tracks": _over_tracks(by_target, mean),
        "tracks": int(scores["track"].nunique()) - unscored_tracks,
        "unscored_tracks": unscored_tracks,
        **{
            count: {target: int(by_target[count].sum()[target]) for target in STEMS}
            for count in ("frames", "nan_frames")
        },
    }


def median(values: Iterable[float]) -> float:
    """Returns the median of the finite values, NaN if there are none.

    Args:
        values: `(values,)`.
    """
    finite = _finite(values)
    return float(np.median(finite)) if finite.size else float("nan")


def mean(values: Iterable[float]) -> float:
    """Returns the mean of the finite values, NaN if there are none.

    Args:
        values: `(values,)`.
    """
    finite = _finite(values)
    return float(np.mean(finite)) if finite.size else float("nan")


def _finite(values: Iterable[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _over_tracks(
    by_target: Any, aggregate: Callable[[Iterable[float]], float]
) -> dict[str, dict[str, float | None]]:
    """Aggregates each metric over tracks.

    Args:
        by_target: the scores, a pandas group for each target.
        aggregate: what makes one value of those of the tracks.
    """
    aggregates = {}
    for metric in BSS_METRICS:
        values = {target: aggregate(by_target.get_group(target)[metric]) for target in STEMS}
        values["mean"] = sum(values.values()) / len(STEMS)
        aggregates[metric] = {name: finite_or_none(value) for name, value in values.items()}
    return aggregates


def _files(root: Path, track: dict[str, Any]) -> tuple[Path, ...]:
    """Returns the files of the mixture, the references and the estimates of a track."""
    estimates = root / SPLEETER_RESULTS / ESTIMATES / track["track"]
    return (
        root / track[MIXTURE_PATH],
        *(root / track[path_column(target)] for target in STEMS),
        *(estimates / f"{target}.wav" for target in STEMS),
    )


def _score(
    files: tuple[Path, ...],
    threads: int,
    duration: float,
    list_path: str,
    window_seconds: float,
    hop_seconds: float,
) -> dict[str, list[list[float]]]:
    """Scores a track.

    Args:
        files: as from `_files`.
        threads: how many to use.
        duration: how long the track is in s, as the list says.
        list_path: the list, for errors.
        window_seconds: the length of a frame.
        hop_seconds: from the start of one frame to the start of the next.

    Returns:
        By metric, in dB, a list of targets, each a list of frames.
    """
    mixture, *stems = files
    mixture_format = audio.read_format(mixture)
    seconds = mixture_format.samples / mixture_format.sample_rate
    if abs(seconds - duration) > DURATION_TOLERANCE:
        problem = f"lasts {seconds:g} s, but {list_path} says {duration:g} s"
        raise InputError(mixture, problem, "run the stage that writes the list again")
    # Each worker holds a song: float32 takes half the memory, and holds 24 bits exactly.
    signals = np.empty(
        (len(stems), mixture_format.samples, mixture_format.channels), dtype=np.float32
    )
    for signal, path in zip(signals, stems, strict=True):
        signal[:] = audio.read(path, mixture_format)
    references, estimates = np.split(signals, 2)
    scores = bss_eval(
        references, estimates, mixture_format.sample_rate, window_seconds, hop_seconds, threads
    )
    return {metric: getattr(scores, metric).tolist() for metric in BSS_METRICS}
