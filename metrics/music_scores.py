"""The scores of the music branch: BSS Eval of Spleeter's estimates of the test tracks."""

from pathlib import Path

import numpy as np
import pandas as pd

from metrics import audio
from metrics.bsseval import bss_eval
from metrics.errors import InputError
from metrics.numbers import finite_or_none
from metrics.progress import progress
from metrics.workspace import BSS_METRICS, MUSIC_TEST, SPLEETER, TARGETS, read_music_list

DURATION_TOLERANCE = 0.01  # s; lists may round


def score_music(root: Path, window_seconds: float, hop_seconds: float) -> pd.DataFrame:
    """Scores every track of the music test list under `root`.

    Returns one row per track × target: `track, target, SDR, SIR, SAR, ISR` (dB, the median over
    the frames that are not NaN; NaN if there are none), `frames`, `nan_frames`. When a frame is
    NaN: `metrics.bsseval`.
    Raises: `InputError` for a missing or unreadable file, or one unlike its mixture.
    """
    tracks = read_music_list(root / MUSIC_TEST).to_dict("records")
    rows = []
    for track in progress(tracks, "scoring music", "track"):
        form = _mixture_form(root, track)
        estimates = root / SPLEETER / "estimates" / track["track"]
        scores = bss_eval(
            np.stack([audio.read(root / track[f"{target}_path"], form) for target in TARGETS]),
            np.stack([audio.read(estimates / f"{target}.wav", form) for target in TARGETS]),
            form.sample_rate,
            window_seconds,
            hop_seconds,
        )
        for source, target in enumerate(TARGETS):
            frames = {metric: getattr(scores, metric)[source] for metric in BSS_METRICS}
            rows.append(
                {
                    "track": track["track"],
                    "target": target,
                    **{metric: median(values) for metric, values in frames.items()},
                    "frames": frames["SDR"].size,
                    "nan_frames": int(np.isnan(frames["SDR"]).sum()),
                }
            )
    return pd.DataFrame(rows)


def aggregate_music(scores: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """`{metric: {target: median over tracks, …, "mean": mean over targets}}` in dB.

    Tracks whose score is NaN are left out of the median. None: no finite value.
    """
    aggregate = {}
    for metric in BSS_METRICS:
        medians = {
            target: median(scores.loc[scores["target"] == target, metric]) for target in TARGETS
        }
        medians["mean"] = sum(medians.values()) / len(TARGETS)
        aggregate[metric] = {name: finite_or_none(value) for name, value in medians.items()}
    return aggregate


def median(values) -> float:
    """The median of the values that are not NaN; NaN if there are none."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(np.median(values)) if values.size else float("nan")


def _mixture_form(root: Path, track: dict) -> audio.Form:
    path = root / track["mix_path"]
    form = audio.read_form(path)
    if abs(form.samples / form.sample_rate - track["duration"]) > DURATION_TOLERANCE:
        raise InputError(
            path,
            f"{form.samples / form.sample_rate:g} s",
            f"{track['duration']:g} s as in {root / MUSIC_TEST}",
        )
    return form
