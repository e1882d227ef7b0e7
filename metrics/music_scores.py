"""The scores of the music branch: BSS Eval of Spleeter's estimates of the test tracks."""

from pathlib import Path

import numpy as np
import pandas as pd

from metrics import audio
from metrics.bsseval import bss_eval
from metrics.errors import InputError
from metrics.numbers import finite_or_none
from metrics.score_all import Item, Unfinished, score_all
from metrics.workspace import (
    BSS_METRICS,
    MUSIC_TEST,
    SPLEETER,
    TARGETS,
    read_music_list,
    unscored,
)

DURATION_TOLERANCE = 0.01  # s; lists may round


def score_music(
    root: Path,
    window_seconds: float,
    hop_seconds: float,
    kept: Unfinished,
    workers: int | None = None,
) -> pd.DataFrame:
    """Scores every track of the music test list under `root`.

    Returns one row per track × target × frame: `track, target, time` (s, where the frame starts),
    `SDR, SIR, SAR, ISR` (dB). When they are NaN or infinite: `metrics.bsseval`.
    Raises: `BadFilesError` for tracks with a missing or unreadable file, or one unlike its mixture,
    after the others were scored and kept; `InputError` for a bad list.
    """
    listed = root / MUSIC_TEST
    tracks = read_music_list(listed).to_dict("records")
    items = [
        Item(
            _files(root, track),
            (track["duration"], str(listed), window_seconds, hop_seconds),
        )
        for track in tracks
    ]
    results = score_all(_score, items, kept, "scoring music", "track", workers)
    return pd.DataFrame(
        [
            {
                "track": track["track"],
                "target": target,
                "time": frame * hop_seconds,
                **{metric: scores[metric][source][frame] for metric in BSS_METRICS},
            }
            for track, scores in zip(tracks, results, strict=True)
            for source, target in enumerate(TARGETS)
            for frame in range(len(scores["SDR"][source]))
        ]
    )


def music_by_track(frames: pd.DataFrame) -> pd.DataFrame:
    """One row per track × target: `track, target, SDR, SIR, SAR, ISR` (dB, the median over the
    frames where it is finite; NaN if there are none), `frames`, `nan_frames` (those whose SDR is
    not finite).

    `museval` leaves the same frames out: it writes infinities as NaN.
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


def aggregate_music(scores: pd.DataFrame) -> dict[str, dict | int]:
    """What `scores.json` holds, of the rows of `music_by_track`, in dB; None: no finite value.

    `{metric: {target: median over tracks, …, "mean": mean over targets}}`, as the SiSEC campaigns
    aggregate; the same under `mean_over_tracks` with the mean instead of that median; under
    `tracks` how many have scores, under `unscored_tracks` how many have none (`unscored`); and
    `frames` and `nan_frames` of all of them, by target. Tracks whose score is NaN are left out.
    """
    by_target = scores.groupby("target")
    without = len(unscored(scores))
    return {
        **_over_tracks(by_target, median),
        "mean_over_tracks": _over_tracks(by_target, mean),
        "tracks": int(scores["track"].nunique()) - without,
        "unscored_tracks": without,
        **{
            count: {target: int(by_target[count].sum()[target]) for target in TARGETS}
            for count in ("frames", "nan_frames")
        },
    }


def median(values) -> float:
    """The median of the values that are finite; NaN if there are none."""
    values = _finite(values)
    return float(np.median(values)) if values.size else float("nan")


def mean(values) -> float:
    """The mean of the values that are finite; NaN if there are none."""
    values = _finite(values)
    return float(np.mean(values)) if values.size else float("nan")


def _finite(values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values[np.isfinite(values)]


def _over_tracks(by_target, over) -> dict[str, dict[str, float | None]]:
    aggregate = {}
    for metric in BSS_METRICS:
        values = {target: over(by_target.get_group(target)[metric]) for target in TARGETS}
        values["mean"] = sum(values.values()) / len(TARGETS)
        aggregate[metric] = {name: finite_or_none(value) for name, value in values.items()}
    return aggregate


def _files(root: Path, track: dict) -> tuple[Path, ...]:
    """The mixture, the references, the estimates."""
    estimates = root / SPLEETER / "estimates" / track["track"]
    return (
        root / track["mix_path"],
        *(root / track[f"{target}_path"] for target in TARGETS),
        *(estimates / f"{target}.wav" for target in TARGETS),
    )


def _score(
    files: tuple[Path, ...],
    threads: int,
    duration: float,
    listed: str,
    window_seconds: float,
    hop_seconds: float,
) -> dict[str, list]:
    """`{metric: [[dB of a frame, …] of a target, …]}`."""
    mixture, *stems = files
    form = audio.read_form(mixture)
    if abs(form.samples / form.sample_rate - duration) > DURATION_TOLERANCE:
        found = f"{form.samples / form.sample_rate:g} s"
        raise InputError(mixture, found, f"{duration:g} s as in {listed}")
    # Each worker holds a song: float32 takes half the memory, and what 24 bits can.
    signals = np.empty((len(stems), form.samples, form.channels), dtype=np.float32)
    for signal, path in zip(signals, stems, strict=True):
        signal[:] = audio.read(path, form)
    references, estimates = np.split(signals, 2)
    scores = bss_eval(references, estimates, form.sample_rate, window_seconds, hop_seconds, threads)
    return {metric: getattr(scores, metric).tolist() for metric in BSS_METRICS}
