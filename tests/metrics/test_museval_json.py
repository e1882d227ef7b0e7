"""The file per track, read by museval's own classes."""

import json

import museval
import numpy as np
import pytest

from contract.layout import ESTIMATES, SPLEETER_RESULTS
from contract.scores import BSS_METRICS
from metrics.museval_json import write_museval
from metrics.music_scores import aggregate_music, music_by_track, score_music
from tests.results import TARGETS, write_audio

ROUNDING = 1e-5  # dB; museval's


@pytest.fixture
def written(music, kept_scores, tmp_path):
    """The frames of two tracks, one of them with a silent frame, and the folder written from
    them."""
    bass = music.root / SPLEETER_RESULTS / ESTIMATES / "First (live)" / "bass.wav"
    write_audio(bass, np.r_[np.zeros(11025), np.full(15435, 0.1)], 44100)
    frames = score_music(music.root, 0.25, 0.25, kept_scores)
    frames.loc[frames.index[-1], "ISR"] = np.inf  # as of an estimate that equals its reference
    write_museval(frames, tmp_path / "museval", 0.25, 0.25)
    return frames, tmp_path / "museval"


@pytest.mark.parametrize("over", ["median", "mean"])
def test_museval_aggregates_to_the_same_values(written, over):
    frames, folder = written
    store = museval.EvalStore(frames_agg="median", tracks_agg=over)
    store.add_eval_dir(folder)
    expected = store.agg_frames_tracks_scores()
    aggregate = aggregate_music(music_by_track(frames))
    aggregate = aggregate if over == "median" else aggregate["mean_over_tracks"]
    for target in TARGETS:
        for metric in BSS_METRICS:
            value = aggregate[metric][target]
            assert expected[target, metric] == pytest.approx(value, abs=ROUNDING)
    assert set(store.df["track"]) == {"First (live)", "Zweiter, Ö"}
    assert int(store.df.query("metric == 'SDR'")["score"].isna().sum()) == 4


def test_museval_names_a_method_after_its_folder(written):
    _, folder = written
    methods = museval.MethodStore()
    methods.add_eval_dir(folder)
    assert set(methods.df["method"]) == {"museval"}
    assert len(methods.agg_frames_tracks_scores()) == 16


def test_a_file_is_what_museval_itself_writes(written):
    frames, folder = written
    rows = frames[frames["track"] == "Zweiter, Ö"]
    store = museval.TrackStore("Zweiter, Ö", win=0.25, hop=0.25)
    for target in TARGETS:
        ratios = rows[rows["target"] == target]
        store.add_target(target, {metric: ratios[metric].tolist() for metric in BSS_METRICS})
    content = (folder / "test/Zweiter, Ö.json").read_text()
    assert content == store.json
    frame = json.loads(content)["targets"][1]["frames"][1]
    row = rows[(rows["target"] == "drums") & (rows["time"] == 0.25)].iloc[0]
    assert frame == {
        "time": 0.25,
        "duration": 0.25,
        "metrics": {metric: pytest.approx(row[metric], abs=ROUNDING) for metric in BSS_METRICS},
    }
    assert np.isnan(json.loads(content)["targets"][3]["frames"][1]["metrics"]["ISR"])
