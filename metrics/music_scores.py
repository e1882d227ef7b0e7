"""The scores of the music branch: BSS Eval of Spleeter's estimates of the test tracks, and measures
of whole tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contract.errors import InputError
from contract.layout import ESTIMATES, MUSIC_TEST, SPLEETER_RESULTS
from contract.lists import DURATION_TOLERANCE
from contract.numbers import finite_or_none
from contract.scores import (
    BOUNDS,
    BSS_METRICS,
    MIXTURE_BOUND,
    MUSIC_BOUND_COLUMNS,
    ORACLE_BOUND,
    SONG_METRICS,
    ByTarget,
    MusicAggregate,
)
from contract.sources import DURATION, MIXTURE_PATH, STEMS, path_column
from metrics import audio
from metrics.core.bsseval import bss_eval
from metrics.core.measures import mean, measures, median
from metrics.oracle import MUSIC_EXPONENT, ideal_ratio_masks
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
        SIR, SAR, ISR` (dB) of the frame, and `usdr, si_sdr, si_sir, si_sar` (dB) of the whole
        track, the same in all its frames. `metrics.core.bsseval` and `metrics.core.measures` say
        when they are NaN or infinite.

    Raises:
        BadFilesError: some tracks have a file that is missing, unreadable or unlike the mixture.
            All others have been scored, and their scores are kept.
        InputError: the list is wrong.
    """
    tracks, results = _score_tracks(
        root, _files, _score, (window_seconds, hop_seconds), kept_scores, "scoring music", workers
    )
    return _frames(tracks, results, hop_seconds)


def bound_music(
    root: Path,
    frame_length: int,
    frame_step: int,
    window_seconds: float,
    hop_seconds: float,
    kept_scores: KeptScores,
    workers: int | None = None,
) -> pd.DataFrame:
    """Scores the bounds of every track of the music test list.

    They are scored as the estimates of a model are, see `score_music`: the mixture as the estimate
    of every stem, and what ideal ratio masks make of it (`metrics.oracle`).

    Args:
        root: the workspace.
        frame_length: of the model's STFT, in samples.
        frame_step: of the model's STFT, in samples.
        window_seconds: the length of a frame of BSS Eval.
        hop_seconds: from the start of one such frame to the start of the next.
        kept_scores: the scores of an earlier run.
        workers: the number of processes; None for one per core.

    Returns:
        One row per bound × track × target, with the columns `contract.scores.MUSIC_BOUND_COLUMNS`.

    Raises:
        BadFilesError: some tracks have a file that is missing, unreadable or unlike the mixture.
            All others have been scored, and their scores are kept.
        InputError: the list is wrong.
    """
    settings = (frame_length, frame_step, window_seconds, hop_seconds)
    tracks, results = _score_tracks(
        root, _references, _score_bounds, settings, kept_scores, "scoring bounds", workers
    )
    tables = []
    for bound in BOUNDS:
        of_bound = [scores[bound] for scores in results]
        table = music_by_track(_frames(tracks, of_bound, hop_seconds))
        tables.append(table.assign(bound=bound))
    return pd.concat(tables)[list(MUSIC_BOUND_COLUMNS)]


def _score_tracks(
    root: Path,
    files_of: Callable[[Path, dict[str, Any]], tuple[Path, ...]],
    score: Callable[..., Any],
    settings: tuple[float, ...],
    kept_scores: KeptScores,
    activity: str,
    workers: int | None,
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Scores every track of the music test list.

    Args:
        root: the workspace.
        files_of: returns the files that a track is scored from.
        score: scores a track, see `_score`.
        settings: its last arguments.
        kept_scores: the scores of an earlier run.
        activity: what is being done, for the progress.
        workers: the number of processes; None for one per core.

    Returns:
        The rows of the list, and what `score` has returned for each.
    """
    list_path = root / MUSIC_TEST
    tracks = read_music_list(list_path).to_dict("records")
    items = [
        Item(files_of(root, track), (track[DURATION], str(list_path), *settings))
        for track in tracks
    ]
    return tracks, score_all(score, items, kept_scores, activity, "track", workers)


def _frames(
    tracks: Sequence[dict[str, Any]],
    results: Sequence[dict[str, list[Any]]],
    hop_seconds: float,
) -> pd.DataFrame:
    """Returns a row for each track × target × frame, as `score_music` describes it."""
    return pd.DataFrame(
        [
            {
                "track": track["track"],
                "target": target,
                "time": frame * hop_seconds,
                **{metric: scores[metric][source][frame] for metric in BSS_METRICS},
                **{metric: scores[metric][source] for metric in SONG_METRICS},
            }
            for track, scores in zip(tracks, results, strict=True)
            for source, target in enumerate(STEMS)
            for frame in range(len(scores["SDR"][source]))
        ]
    )


def music_by_track(frames: pd.DataFrame) -> pd.DataFrame:
    """Returns the scores of each track and target: for BSS Eval, medians over its frames.

    `museval` leaves the same frames out of its medians, for it writes infinities as NaN.

    Args:
        frames: as from `score_music`.

    Returns:
        One row per track × target, with the columns `contract.scores.MUSIC_SCORE_COLUMNS`: `SDR,
        SIR, SAR, ISR` (dB) are medians over the frames where they are finite, NaN if there are
        none. `usdr, si_sdr, si_sir, si_sar` (dB) are of the whole track. `nan_frames` is how many
        of the `frames` have no finite SDR.
    """
    return pd.DataFrame(
        [
            {
                "track": track,
                "target": target,
                **{metric: median(rows[metric]) for metric in BSS_METRICS},
                **{metric: rows[metric].iloc[0] for metric in SONG_METRICS},
                "frames": len(rows),
                "nan_frames": int((~np.isfinite(rows["SDR"])).sum()),
            }
            for (track, target), rows in frames.groupby(["track", "target"], sort=False)
        ]
    )


def aggregate_music(scores: pd.DataFrame) -> MusicAggregate:
    """Returns the scores of the test set, aggregated over the tracks as each community does.

    BSS Eval has medians, as in the SiSEC campaigns; the measures of whole tracks have means. Scores
    that are not finite are left out. `metrics.tables.unscored` says which tracks have none.

    Args:
        scores: as from `music_by_track`.
    """
    by_target = scores.groupby("target")
    unscored_tracks = len(unscored(scores))
    return {
        **_over_tracks(by_target, BSS_METRICS, median),
        **_over_tracks(by_target, SONG_METRICS, mean),
        "mean_over_tracks": _over_tracks(by_target, BSS_METRICS, mean),
        "tracks": int(scores["track"].nunique()) - unscored_tracks,
        "unscored_tracks": unscored_tracks,
        **{
            count: {target: int(by_target[count].sum()[target]) for target in STEMS}
            for count in ("frames", "nan_frames")
        },
    }


def aggregate_music_bounds(bounds: pd.DataFrame) -> dict[str, ByTarget]:
    """Returns the SDR of each bound, aggregated as in `aggregate_music`.

    Args:
        bounds: as from `bound_music`.
    """
    return {
        str(bound): _over_tracks(rows.groupby("target"), ["SDR"], median)["SDR"]
        for bound, rows in bounds.groupby("bound", sort=False)
    }


def _over_tracks(
    by_target: Any, metrics: Iterable[str], aggregate: Callable[[Iterable[float]], float]
) -> dict[str, dict[str, float | None]]:
    """Aggregates some metrics over tracks.

    Args:
        by_target: the scores, a pandas group for each target.
        metrics: their columns.
        aggregate: what makes one value of those of the tracks.
    """
    aggregates = {}
    for metric in metrics:
        values = {target: aggregate(by_target.get_group(target)[metric]) for target in STEMS}
        values["mean"] = sum(values.values()) / len(STEMS)
        aggregates[metric] = {name: finite_or_none(value) for name, value in values.items()}
    return aggregates


def _references(root: Path, track: dict[str, Any]) -> tuple[Path, ...]:
    """Returns the files of the mixture and the references of a track."""
    columns = (MIXTURE_PATH, *map(path_column, STEMS))
    return tuple(root / track[column] for column in columns)


def _files(root: Path, track: dict[str, Any]) -> tuple[Path, ...]:
    """Returns the files of the mixture, the references and the estimates of a track."""
    estimates = root / SPLEETER_RESULTS / ESTIMATES / track["track"]
    return (*_references(root, track), *(estimates / f"{target}.wav" for target in STEMS))


def _score(
    files: tuple[Path, ...],
    threads: int,
    duration: float,
    list_path: str,
    window_seconds: float,
    hop_seconds: float,
) -> dict[str, list[Any]]:
    """Scores a track.

    Args:
        files: as from `_files`.
        threads: how many to use.
        duration: how long the track is in s, as the list says.
        list_path: the list, for errors.
        window_seconds: the length of a frame.
        hop_seconds: from the start of one frame to the start of the next.

    Returns:
        By metric, in dB, what `_ratios` returns.
    """
    mixture, *stems = files
    mixture_format = _format(mixture, duration, list_path)
    references, estimates = np.split(_read(stems, mixture_format), 2)
    rate = mixture_format.sample_rate
    return _ratios(references, estimates, rate, window_seconds, hop_seconds, threads)


def _score_bounds(
    files: tuple[Path, ...],
    threads: int,
    duration: float,
    list_path: str,
    frame_length: int,
    frame_step: int,
    window_seconds: float,
    hop_seconds: float,
) -> dict[str, dict[str, list[Any]]]:
    """Scores the bounds of a track.

    Args:
        files: as from `_references`.
        threads: how many to use.
        duration: how long the track is in s, as the list says.
        list_path: the list, for errors.
        frame_length: of the STFT, in samples.
        frame_step: of the STFT, in samples.
        window_seconds: the length of a frame of BSS Eval.
        hop_seconds: from the start of one such frame to the start of the next.

    Returns:
        By bound and metric, in dB, what `_ratios` returns.
    """
    mixture_format = _format(files[0], duration, list_path)
    mixture, *references = _read(files, mixture_format)
    references = np.stack(references)
    estimates = {
        MIXTURE_BOUND: np.broadcast_to(mixture, references.shape),
        ORACLE_BOUND: ideal_ratio_masks(
            references, mixture, frame_length, frame_step, MUSIC_EXPONENT
        ),
    }
    rate = mixture_format.sample_rate
    return {
        bound: _ratios(references, estimates[bound], rate, window_seconds, hop_seconds, threads)
        for bound in BOUNDS
    }


def _format(mixture: Path, duration: float, list_path: str) -> audio.AudioFormat:
    """Returns the format of a mixture, or raises `InputError` if it is not as long as listed."""
    mixture_format = audio.read_format(mixture)
    seconds = mixture_format.samples / mixture_format.sample_rate
    if abs(seconds - duration) > DURATION_TOLERANCE:
        problem = f"lasts {seconds:g} s, but {list_path} says {duration:g} s"
        raise InputError(mixture, problem, "run the stage that writes the list again")
    return mixture_format


def _read(paths: Sequence[Path], mixture_format: audio.AudioFormat) -> np.ndarray:
    """Reads the files of a track, `(files, samples, channels)`.

    Each worker holds a song: float32 takes half the memory, and holds 24 bits exactly.
    """
    shape = (len(paths), mixture_format.samples, mixture_format.channels)
    signals = np.empty(shape, dtype=np.float32)
    for signal, path in zip(signals, paths, strict=True):
        signal[:] = audio.read(path, mixture_format)
    return signals


def _ratios(
    references: np.ndarray,
    estimates: np.ndarray,
    sample_rate: int,
    window_seconds: float,
    hop_seconds: float,
    threads: int,
) -> dict[str, list[Any]]:
    """Returns the scores of a track by metric: for BSS Eval a list of targets, each a list of
    frames, and for the measures of whole tracks a list of targets."""
    scores = bss_eval(references, estimates, sample_rate, window_seconds, hop_seconds, threads)
    whole = measures(references, estimates)
    return {
        **{metric: getattr(scores, metric).tolist() for metric in BSS_METRICS},
        **{metric: getattr(whole, metric).tolist() for metric in SONG_METRICS},
    }
