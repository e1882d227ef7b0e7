"""Writes BSS Eval's ratios of each frame as `museval` does, for the tools that read its files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from contract.scores import BSS_METRICS


def write_museval(
    frames: pd.DataFrame, folder: Path, window_seconds: float, hop_seconds: float
) -> None:
    """Writes `test/<track>.json` for each track, with museval's own class.

    That class rounds to 1e-5 dB and writes infinities as NaN. `museval.EvalStore` and
    `museval.MethodStore` read the folder.

    Args:
        frames: as `metrics.music_scores.score_music` returns them.
        folder: where `test/` is made.
        window_seconds: the length of a frame.
        hop_seconds: from the start of one frame to the start of the next.
    """
    from museval import TrackStore  # takes seconds to import

    (folder / "test").mkdir(parents=True, exist_ok=True)
    for track, track_frames in frames.groupby("track", sort=False):
        store = TrackStore(track, win=window_seconds, hop=hop_seconds)
        for target, target_frames in track_frames.groupby("target", sort=False):
            ratios = {metric: target_frames[metric].tolist() for metric in BSS_METRICS}
            store.add_target(target, ratios)
        store.validate()
        (folder / "test" / f"{track}.json").write_text(store.json, encoding="utf-8")
