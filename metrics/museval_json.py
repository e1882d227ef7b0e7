"""BSS Eval's frames as `museval` writes them, for the tools that read it."""

from pathlib import Path

import pandas as pd

from metrics.workspace import BSS_METRICS


def write_museval(
    frames: pd.DataFrame, folder: Path, window_seconds: float, hop_seconds: float
) -> None:
    """Writes `test/<track>.json` below `folder` by museval's own class, which rounds to 1e-5 dB and
    writes infinities as NaN. `museval.EvalStore` and `museval.MethodStore` read the folder.

    frames: as `metrics.music_scores.score_music` returns them.
    """
    from museval import TrackStore  # takes seconds to import

    (folder / "test").mkdir(parents=True, exist_ok=True)
    for track, rows in frames.groupby("track", sort=False):
        store = TrackStore(track, win=window_seconds, hop=hop_seconds)
        for target, values in rows.groupby("target", sort=False):
            store.add_target(target, {metric: values[metric].tolist() for metric in BSS_METRICS})
        store.validate()
        (folder / "test" / f"{track}.json").write_text(store.json, encoding="utf-8")
