"""The JSON per track, read by museval's own classes."""

import json

import museval
import numpy as np
import pytest

from metrics.museval_json import write_museval
from metrics.music_scores import aggregate_music, music_by_track, score_music
from tests.metrics.files import TARGETS, write

ROUNDING = 1e-5  # dB; museval's


@pytest.fixture
def written(music, kept, tmp_path):
    """Frames of the two tracks, one with a silent frame, and the folder written from them."""
    silent = music.root / "results/spleeter/estimates/First (live)/bass.wav"
    write(silent, np.r_[np.zeros(11025), np.full(15435, 0.1)], 44100)
    frames = score_music(music.root, 0.25, 0.25, kept)
    frames.loc[frames.index[-1], "ISR"] = np.inf  # of an estimate that is its reference
    write_museval(frames, tmp_path / "museval", 0.25, 0.25)
    return frames, tmp_path / "museval"


@pytest.mark.parametrize("over", ["median", "mean"])
def test_musevals_aggregate_is_ours(written, over):
    frames, folder = written
    store = museval.EvalStore(frames_agg="median", tracks_agg=over)
    store.add_eval_dir(folder)
    theirs = store.agg_frames_tracks_scores()
    ours = aggregate_music(music_by_track(frames))
    ours = ours if over == "median" else ours["mean_over_tracks"]
    for target in TARGETS:
        for metric in ("SDR", "SIR", "SAR", "ISR"):
            assert theirs[target, metric] == pytest.approx(ours[metric][target], abs=ROUNDING)
    assert set(store.df["track"]) == {"First (live)", "Zweiter, Ö"}
    assert int(store.df.query("metric == 'SDR'")["score"].isna().sum()) == 4


def test_methods_are_compared_by_their_folders_name(written):
    _, folder = written
    methods = museval.MethodStore()
    methods.add_eval_dir(folder)
    assert set(methods.df["method"]) == {"museval"}
    assert len(methods.agg_frames_tracks_scores()) == 16


def test_file_is_what_museval_itself_writes(written):
    """Frame by frame, for values that both have."""
    frames, folder = written
    rows = frames[frames["track"] == "Zweiter, Ö"]
    store = museval.TrackStore("Zweiter, Ö", win=0.25, hop=0.25)
    for target in TARGETS:
        values = rows[rows["target"] == target]
        store.add_target(target, {m: values[m].tolist() for m in ("SDR", "SIR", "SAR", "ISR")})
    content = (folder / "test/Zweiter, Ö.json").read_text()
    assert content == store.json
    first = json.loads(content)["targets"][1]["frames"][1]
    row = rows[(rows["target"] == "drums") & (rows["time"] == 0.25)].iloc[0]
    assert first == {
        "time": 0.25,
        "duration": 0.25,
        "metrics": {m: pytest.approx(row[m], abs=ROUNDING) for m in ("SDR", "SIR", "SAR", "ISR")},
    }
    assert np.isnan(json.loads(content)["targets"][3]["frames"][1]["metrics"]["ISR"])
