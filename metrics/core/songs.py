"""Scores songs from files as `museval` does, with more measures in the same pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .audio import read_together
from .bsseval import BssEval, bss_eval
from .errors import InputError
from .folders import ACCOMPANIMENT, MIXTURES, VOCALS, Track, targets
from .kept import Item
from .measures import Measures, mean, measures, median
from .museval import TrackStore

WINDOW_SECONDS = HOP_SECONDS = 1.0  # of the frames of BSS Eval, as `museval` has them
BSS_METRICS = ("SDR", "SIR", "SAR", "ISR")
MEASURES = {"usdr": "uSDR", "si_sdr": "SI-SDR", "si_sir": "SI-SIR", "si_sar": "SI-SAR"}
COLUMNS = ("track", "target", *BSS_METRICS, *MEASURES, "frames", "nan_frames")


def song_item(song: Track, sample_rate: int | None) -> Item:
    """Returns what a song is scored from.

    Its targets are those of the references that have an estimate, and the accompaniment if there is
    an estimate of it: its reference is a file or, without one, the sum of all references but the
    vocals. As with `museval`, vocals and accompaniment are a pair of their own, and the scores of
    the vocals are those of the pair.

    Args:
        song: its files.
        sample_rate: what the audio is converted to, in Hz; None for its own rate.

    Raises:
        InputError: fewer than two targets have an estimate.
    """
    references = _without_mixtures(song.references)
    estimates = _without_mixtures(song.estimates)
    stems = [name for name in targets(references) if name != ACCOMPANIMENT]
    scored = [name for name in stems if name in estimates]
    summed = [name for name in stems if name != VOCALS]
    if ACCOMPANIMENT in references:
        summed = []
    sets = [scored]
    if ACCOMPANIMENT in estimates and (ACCOMPANIMENT in references or summed):
        pair = [VOCALS, ACCOMPANIMENT]
        sets = [scored, pair] if VOCALS in scored else [[*scored, ACCOMPANIMENT]]
    sets = [names for names in sets if len(names) > 1]
    if not sets:
        folder = next(iter(song.estimates.values())).parent
        present = " and ".join(targets(estimates)) or "no target"
        expected = ", ".join([*stems, ACCOMPANIMENT])
        problem = f"{song.name} has {present}, but BSS Eval needs two or more of {expected}"
        raise InputError(folder, problem, "add estimates, for instance of the accompaniment")
    used = {name for names in sets for name in names}
    notes = [f"has no estimate of {name}, and is scored without it" for name in stems]
    notes = [note for note, name in zip(notes, stems, strict=True) if name not in estimates]
    unknown = targets(estimates.keys() - used)
    notes += [f"the estimate of {name} is ignored: it has no reference" for name in unknown]
    parts = summed if ACCOMPANIMENT in used else []
    needed = targets((used | set(parts)) & references.keys())
    files = {f"reference of {name}": references[name] for name in needed}
    files |= {f"estimate of {name}": estimates[name] for name in targets(used)}
    settings = {"sample_rate": sample_rate, "sets": sets, "parts": parts, "notes": notes}
    return Item(files, settings)


def score_song(
    files: dict[str, Path],
    threads: int,
    sample_rate: int | None,
    sets: Sequence[Sequence[str]],
    parts: Sequence[str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Scores a song.

    Args:
        files: as from `song_item`.
        threads: how many to use.
        sample_rate: what the audio is converted to, in Hz; None for its own rate.
        sets: the targets that are scored against each other. The scores of a target in several sets
            are those of the last one.
        parts: the references whose sum is that of the accompaniment; empty if it has a file.
        notes: what is to be said about the song.

    Returns:
        Under `notes` what is to be said about the song. Under `targets`, by target, the ratios of
        BSS Eval in dB as lists of frames, and the measures in dB.

    Raises:
        InputError: a file is no audio, or does not fit to the others.
    """
    signals, rate, file_notes = read_together(files, sample_rate)
    if parts:
        summed = [signals[f"reference of {name}"] for name in parts]
        signals[f"reference of {ACCOMPANIMENT}"] = np.sum(summed, axis=0, dtype=np.float64)
    by_target: dict[str, dict[str, Any]] = {}
    for names in sets:
        references, estimates = (
            np.stack([signals[f"{kind} of {name}"] for name in names])
            for kind in ("reference", "estimate")
        )
        ratios = bss_eval(references, estimates, rate, WINDOW_SECONDS, HOP_SECONDS, threads)
        whole = measures(references, estimates)
        by_target |= {
            name: {metric: getattr(ratios, metric)[index].tolist() for metric in BssEval._fields}
            | {measure: float(getattr(whole, measure)[index]) for measure in Measures._fields}
            for index, name in enumerate(names)
        }
    return {"notes": [*notes, *file_notes], "targets": by_target}


def song_scores(songs: Sequence[Track], results: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Returns the scores of each song and target.

    Args:
        songs: at least one.
        results: of each, as from `score_song`.

    Returns:
        One row per song × target, with the columns `COLUMNS`: `SDR, SIR, SAR, ISR` (dB) are medians
        over the frames where they are finite, NaN if there are none. `usdr, si_sdr, si_sir, si_sar`
        (dB) are of the whole song. `nan_frames` is how many of the `frames` have no finite SDR.
    """
    rows = [
        {
            "track": song.name,
            "target": target,
            **{metric: median(scores[metric]) for metric in BSS_METRICS},
            **{measure: scores[measure] for measure in MEASURES},
            "frames": len(scores["SDR"]),
            "nan_frames": int((~np.isfinite(scores["SDR"])).sum()),
        }
        for song, result in zip(songs, results, strict=True)
        for target, scores in _in_order(result["targets"])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def song_summary(scores: pd.DataFrame) -> str:
    """Returns the scores of each target over all songs, as a table of text.

    Each measure is aggregated as its community does: BSS Eval by medians over the songs, the
    others by means.

    Args:
        scores: as from `song_scores`.
    """
    names = targets(scores["target"].unique())
    rows = {}
    for name in names:
        of_target = scores[scores["target"] == name]
        rows[name] = [median(of_target[metric]) for metric in BSS_METRICS]
        rows[name] += [mean(of_target[measure]) for measure in MEASURES]
    stems = [name for name in names if name != ACCOMPANIMENT]
    if len(stems) > 1:
        rows["mean"] = np.mean([rows[name] for name in stems], axis=0).tolist()
    width = max(len("target"), *map(len, rows))
    head = [*BSS_METRICS, *MEASURES.values()]
    lines = [f"{'target':<{width}}" + "".join(f"{title:>8}" for title in head)]
    for name, values in rows.items():
        lines.append(f"{name:<{width}}" + "".join(f"{value:>8.2f}" for value in values))
    unscored, frames = (~np.isfinite(scores["SDR"])).sum(), scores["frames"].sum()
    return "\n".join(
        [
            *lines,
            "In dB. SDR, SIR, SAR, ISR: BSS Eval v4, median over frames of 1 s, then over tracks.",
            "uSDR, SI-SDR, SI-SIR, SI-SAR: of whole tracks, mean over tracks.",
            f"Left out, without a finite SDR (silence, a perfect estimate, NaN): {unscored} of "
            f"{len(scores)} targets, {scores['nan_frames'].sum()} of {frames} frames.",
        ]
    )


def museval_json(song: Track, result: dict[str, Any]) -> str:
    """Returns the frames of a song as `museval` writes them.

    Args:
        song: the song.
        result: as from `score_song`.
    """
    store = TrackStore(song.name, win=WINDOW_SECONDS, hop=HOP_SECONDS)
    for target, scores in _in_order(result["targets"]):
        store.add_target(target, {metric: scores[metric] for metric in BSS_METRICS})
    return store.json


def _in_order(by_target: dict[str, Any]) -> list[tuple[str, Any]]:
    """Returns the items of a dictionary of targets, in their order."""
    return [(name, by_target[name]) for name in targets(by_target)]


def _without_mixtures(files: dict[str, Path]) -> dict[str, Path]:
    return {name: path for name, path in files.items() if name not in MIXTURES}
