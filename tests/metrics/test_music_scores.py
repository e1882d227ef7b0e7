"""Scores of tracks from files, and every way the files can be wrong."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from metrics.errors import InputError
from metrics.music_scores import aggregate_music, music_by_track, score_music, unscored
from tests.metrics.files import MUSIC_SECONDS, TARGETS, read_list, rewrite_list, write

RATE = 44100
FIRST = "results/spleeter/estimates/First (live)"


def test_rows_and_aggregate_are_museval_medians(music, kept):
    from museval.metrics import bss_eval as museval_bss_eval

    silent = music.root / FIRST / "bass.wav"
    samples, _ = soundfile.read(silent)
    samples[: RATE // 4] = 0  # the first of two windows
    write(silent, samples, RATE)

    frames = score_music(music.root, 0.25, 0.25, kept)
    assert list(frames) == ["track", "target", "time", "SDR", "SIR", "SAR", "ISR"]
    assert list(frames["time"]) == [0.0, 0.25] * 8
    scores = music_by_track(frames)

    expected = []
    for item in read_list(music.root, "music"):
        track = item["mix_path"].split("/")[-2]
        references = [soundfile.read(music.root / item[f"{target}_path"])[0] for target in TARGETS]
        folder = music.root / "results/spleeter/estimates" / track
        estimates = [soundfile.read(folder / f"{target}.wav")[0] for target in TARGETS]
        sdr, isr, sir, sar, _ = museval_bss_eval(
            np.stack(references)[:, :, None],
            np.stack(estimates)[:, :, None],
            window=RATE // 4,
            hop=RATE // 4,
        )
        for index, target in enumerate(TARGETS):
            medians = [np.nanmedian(values[index]) for values in (sdr, sir, sar, isr)]
            expected.append([track, target, *medians, 2, int(np.isnan(sdr[index]).sum())])
    columns = ["track", "target", "SDR", "SIR", "SAR", "ISR", "frames", "nan_frames"]
    pd.testing.assert_frame_equal(
        scores, pd.DataFrame(expected, columns=columns), rtol=0, atol=1e-6
    )
    assert list(scores["nan_frames"]) == [1, 1, 1, 1, 0, 0, 0, 0]

    aggregate = aggregate_music(scores)
    counts = ["tracks", "unscored_tracks", "frames", "nan_frames"]
    assert list(aggregate) == ["SDR", "SIR", "SAR", "ISR", "mean_over_tracks", *counts]
    assert (aggregate["tracks"], aggregate["unscored_tracks"]) == (2, 0)
    assert aggregate["frames"] == dict.fromkeys(TARGETS, 4)
    assert aggregate["nan_frames"] == dict.fromkeys(TARGETS, 1)
    drums = scores[scores["target"] == "drums"]["SDR"]
    assert aggregate["SDR"]["drums"] == pytest.approx(drums.mean())  # of two: also the median
    assert aggregate["SDR"]["mean"] == pytest.approx(
        np.mean([aggregate["SDR"][target] for target in TARGETS])
    )
    json.dumps(aggregate, allow_nan=False)


def test_aggregate_is_over_tracks_and_null_for_nothing():
    scores = pd.DataFrame(
        [
            {"track": track, "target": target, **dict.fromkeys(["SIR", "SAR", "ISR"], 1.0)}
            | {"SDR": value, "frames": 3, "nan_frames": int(np.isnan(value))}
            for target, values in {
                "vocals": [1.0, 2.0, 9.0],
                "drums": [np.nan, 4.0, 6.0],
                "bass": [np.nan, np.nan, np.nan],
                "other": [1.0, 2.0, 4.5],
            }.items()
            for track, value in zip("abc", values, strict=True)
        ]
    )
    aggregate = aggregate_music(scores)
    expected = {"vocals": 2.0, "drums": 5.0, "bass": None, "other": 2.0, "mean": None}
    assert aggregate["SDR"] == expected
    assert aggregate["SIR"] == dict.fromkeys([*TARGETS, "mean"], 1.0)
    expected = {"vocals": 4.0, "drums": 5.0, "bass": None, "other": 2.5, "mean": None}
    assert aggregate["mean_over_tracks"]["SDR"] == expected
    assert (aggregate["tracks"], aggregate["unscored_tracks"]) == (3, 0)
    assert aggregate["nan_frames"] == {"vocals": 0, "drums": 1, "bass": 3, "other": 0}


@pytest.mark.parametrize("silent", ["reference", "estimate"])
def test_a_track_with_a_silent_stem_is_counted_apart(music, kept, silent):
    before = aggregate_music(music_by_track(score_music(music.root, 0.25, 0.25, kept)))
    first, second = read_list(music.root, "music")
    path = first["vocals_path"] if silent == "reference" else f"{FIRST}/vocals.wav"
    samples, _ = soundfile.read(music.root / path)
    write(music.root / path, np.zeros_like(samples), RATE)
    scores = music_by_track(score_music(music.root, 0.25, 0.25, kept))
    assert unscored(scores) == ["First (live)"]
    aggregate = aggregate_music(scores)
    assert (before["tracks"], before["unscored_tracks"]) == (2, 0)
    assert (aggregate["tracks"], aggregate["unscored_tracks"]) == (1, 1)
    assert aggregate["frames"] == dict.fromkeys(TARGETS, 4)
    assert aggregate["nan_frames"] == dict.fromkeys(TARGETS, 2)
    track = second["mix_path"].split("/")[-2]
    for row in scores[scores["track"] == track].to_dict("records"):
        assert aggregate["SDR"][row["target"]] == row["SDR"]


def test_frames_that_are_not_finite_are_left_out_and_counted():
    frames = pd.DataFrame(
        {
            "track": "a",
            "target": "vocals",
            "time": range(5),
            "SDR": [np.inf, 1.0, np.nan, 3.0, -np.inf],
            **{metric: [1.0, 2.0, np.nan, 4.0, np.inf] for metric in ("SIR", "SAR", "ISR")},
        }
    )
    (row,) = music_by_track(frames).to_dict("records")
    assert (row["SDR"], row["SIR"], row["frames"], row["nan_frames"]) == (2.0, 2.0, 5, 3)


def missing_estimate(root):
    (root / FIRST / "drums.wav").unlink()
    return r"First \(live\)/drums.wav: found no such file, expected audio"


def short_estimate(root):
    write(root / FIRST / "drums.wav", np.ones(1000), RATE)
    return r"drums.wav: found 1000 samples at 44100 Hz .*, expected 26460 samples at 44100 Hz"


def other_rate(root):
    write(root / FIRST / "drums.wav", np.ones(round(MUSIC_SECONDS * RATE)), 22050)
    return r"drums.wav: found 26460 samples at 22050 Hz .*, expected 26460 samples at 44100 Hz"


def other_channels(root):
    write(root / FIRST / "drums.wav", np.ones((round(MUSIC_SECONDS * RATE), 2)), RATE)
    return r"drums.wav: found .* in 2 channel\(s\), expected .* in 1 channel\(s\)"


def unreadable_estimate(root):
    (root / FIRST / "drums.wav").write_bytes(b"no audio at all")
    return r"drums.wav: found unreadable data \(.*\), expected audio"


def truncated_estimate(root):
    path = root / FIRST / "drums.wav"
    path.write_bytes(path.read_bytes()[:50000])
    return r"drums.wav: found 1\d{4} samples at 44100 Hz .*, expected 26460"


def truncated_reference(root):
    path = root / read_list(root, "music")[0]["bass_path"]
    path.write_bytes(path.read_bytes()[:50000])
    return r"First \(live\)/bass.wav: found 1\d{4} samples"


def truncated_mixture(root):
    path = root / read_list(root, "music")[0]["mix_path"]
    path.write_bytes(path.read_bytes()[:50000])
    return r"mixture.wav: found 0\.2\d+ s, expected 0.6 s as in .*test.csv"


def no_list(root):
    (root / "data/csv/music/test.csv").unlink()
    return r"music/test.csv: found no such file"


def empty_file(root):
    (root / "data/csv/music/test.csv").write_text("")
    return r"music/test.csv: found unreadable data \(.*\), expected a CSV"


def list_without_rows(root):
    path = root / "data/csv/music/test.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    return r"music/test.csv: found no rows, expected at least one item"


def list_without_column(root):
    path = root / "data/csv/music/test.csv"
    pd.read_csv(path).drop(columns="bass_path").to_csv(path, index=False)
    return r"music/test.csv: found the columns mix_path, .*, expected bass_path too"


def list_with_an_empty_cell(root):
    rewrite_list(root, "music", other_path=None)
    return r"music/test.csv: found nan in column other_path of row 1, expected a path"


def list_with_a_wrong_number(root):
    rewrite_list(root, "music", duration="long")
    return r"music/test.csv: found 'long' in column duration of row 1, expected a number"


def track_twice(root):
    path = root / "data/csv/music/test.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    return r"music/test.csv: found the track First \(live\) twice"


@pytest.mark.parametrize(
    "spoil",
    [
        missing_estimate,
        short_estimate,
        other_rate,
        other_channels,
        unreadable_estimate,
        truncated_estimate,
        truncated_reference,
        truncated_mixture,
        no_list,
        empty_file,
        list_without_rows,
        list_without_column,
        list_with_an_empty_cell,
        list_with_a_wrong_number,
        track_twice,
    ],
)
def test_bad_input_is_one_line_naming_the_file(music, kept, spoil):
    message = spoil(music.root)
    with pytest.raises(InputError, match=message) as caught:
        score_music(music.root, 0.25, 0.25, kept)
    assert "\n" not in str(caught.value)


def test_progress_without_a_terminal_is_plain_lines(music, kept, capsys, monkeypatch):
    monkeypatch.setattr("metrics.music_scores.bss_eval", lambda references, *_: _zeros(references))
    score_music(music.root, 0.25, 0.25, kept)
    assert capsys.readouterr().err.splitlines() == [
        "scoring music: 2 of 2 tracks",
    ]


def _zeros(references):
    from metrics.bsseval import BssEval

    return BssEval(*(np.zeros((len(references), 2)) for _ in range(4)))
