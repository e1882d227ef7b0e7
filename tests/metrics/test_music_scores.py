"""Scores of tracks from files, and the errors about files that are wrong."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from contract.errors import InputError
from contract.layout import ESTIMATES, MUSIC_TEST, SPLEETER_RESULTS
from contract.scores import BSS_METRICS, MUSIC_SCORE_COLUMNS, SONG_METRICS, MusicAggregate
from contract.sources import MIXTURE_PATH, path_column
from metrics.core import songs
from metrics.core.bsseval import BssEval
from metrics.core.measures import Measures, measures
from metrics.music_scores import aggregate_music, music_by_track, score_music
from metrics.tables import unscored
from tests.results import MUSIC_SECONDS, TARGETS, read_list, rewrite_list, write_audio

RATE = 44100
FIRST = SPLEETER_RESULTS / ESTIMATES / "First (live)"
REMEDY = "run the stage that writes it again"


def test_rows_and_aggregate_are_those_of_museval(music, kept_scores):
    from museval.metrics import bss_eval as museval_bss_eval

    bass = music.root / FIRST / "bass.wav"
    samples, _ = soundfile.read(bass)
    samples[: RATE // 4] = 0  # the first of two windows
    write_audio(bass, samples, RATE)

    frames = score_music(music.root, 0.25, 0.25, kept_scores)
    assert list(frames) == ["track", "target", "time", *BSS_METRICS, *SONG_METRICS]
    assert list(frames["time"]) == [0.0, 0.25] * 8
    scores = music_by_track(frames)

    expected = []
    for item in read_list(music.root, "music"):
        track = item[MIXTURE_PATH].split("/")[-2]
        paths = [music.root / item[path_column(target)] for target in TARGETS]
        references = [soundfile.read(path)[0] for path in paths]
        folder = music.root / SPLEETER_RESULTS / ESTIMATES / track
        estimates = [soundfile.read(folder / f"{target}.wav")[0] for target in TARGETS]
        signals = np.stack(references)[:, :, None], np.stack(estimates)[:, :, None]
        sdr, isr, sir, sar, _ = museval_bss_eval(*signals, window=RATE // 4, hop=RATE // 4)
        whole = measures(*signals)
        for index, target in enumerate(TARGETS):
            medians = [np.nanmedian(values[index]) for values in (sdr, sir, sar, isr)]
            medians += [values[index] for values in whole]
            expected.append([track, target, *medians, 2, int(np.isnan(sdr[index]).sum())])
    expected = pd.DataFrame(expected, columns=MUSIC_SCORE_COLUMNS)
    pd.testing.assert_frame_equal(scores, expected, rtol=0, atol=1e-6)
    assert list(scores["nan_frames"]) == [1, 1, 1, 1, 0, 0, 0, 0]

    aggregate = aggregate_music(scores)
    counts = ["tracks", "unscored_tracks", "frames", "nan_frames"]
    assert list(aggregate) == [*BSS_METRICS, *SONG_METRICS, "mean_over_tracks", *counts]
    assert list(aggregate) == list(MusicAggregate.__annotations__)
    assert (aggregate["tracks"], aggregate["unscored_tracks"]) == (2, 0)
    assert aggregate["frames"] == dict.fromkeys(TARGETS, 4)
    assert aggregate["nan_frames"] == dict.fromkeys(TARGETS, 1)
    drums = scores[scores["target"] == "drums"]["SDR"]
    # Of two values, the mean is the median.
    assert aggregate["SDR"]["drums"] == pytest.approx(drums.mean())
    assert aggregate["SDR"]["mean"] == pytest.approx(
        np.mean([aggregate["SDR"][target] for target in TARGETS])
    )
    json.dumps(aggregate, allow_nan=False)


def test_the_table_is_that_of_the_command_that_scores_folders():
    assert songs.COLUMNS == MUSIC_SCORE_COLUMNS
    assert Measures._fields == SONG_METRICS


def test_the_aggregate_is_over_tracks_and_none_where_no_value_is_finite():
    others = ["SIR", "SAR", "ISR", "si_sir", "si_sar"]
    scores = pd.DataFrame(
        [
            {"track": track, "target": target, **dict.fromkeys(others, 1.0)}
            | {"SDR": value, "usdr": value, "si_sdr": np.inf if np.isnan(value) else value}
            | {"frames": 3, "nan_frames": int(np.isnan(value))}
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
    assert aggregate["usdr"] == aggregate["si_sdr"] == expected
    assert list(aggregate["mean_over_tracks"]) == list(BSS_METRICS)
    assert (aggregate["tracks"], aggregate["unscored_tracks"]) == (3, 0)
    assert aggregate["nan_frames"] == {"vocals": 0, "drums": 1, "bass": 3, "other": 0}


@pytest.mark.parametrize("silent", ["reference", "estimate"])
def test_a_track_with_a_silent_stem_is_counted_as_unscored(music, kept_scores, silent):
    before = aggregate_music(music_by_track(score_music(music.root, 0.25, 0.25, kept_scores)))
    first, second = read_list(music.root, "music")
    path = first[path_column("vocals")] if silent == "reference" else FIRST / "vocals.wav"
    samples, _ = soundfile.read(music.root / path)
    write_audio(music.root / path, np.zeros_like(samples), RATE)
    scores = music_by_track(score_music(music.root, 0.25, 0.25, kept_scores))
    assert unscored(scores) == ["First (live)"]
    aggregate = aggregate_music(scores)
    assert (before["tracks"], before["unscored_tracks"]) == (2, 0)
    assert (aggregate["tracks"], aggregate["unscored_tracks"]) == (1, 1)
    assert aggregate["frames"] == dict.fromkeys(TARGETS, 4)
    assert aggregate["nan_frames"] == dict.fromkeys(TARGETS, 2)
    track = second[MIXTURE_PATH].split("/")[-2]
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
            **dict.fromkeys(SONG_METRICS, 7.0),
        }
    )
    (row,) = music_by_track(frames).to_dict("records")
    assert (row["SDR"], row["SIR"], row["frames"], row["nan_frames"]) == (2.0, 2.0, 5, 3)
    assert [row[metric] for metric in SONG_METRICS] == [7.0] * 4


FULL = f"has 26460 samples at {RATE} Hz in 1 channel"


# Each function spoils an input and returns the error's file and message.


def missing_estimate(root):
    (root / FIRST / "drums.wav").unlink()
    return FIRST / "drums.wav", f"there is no such file; {REMEDY}"


def short_estimate(root):
    write_audio(root / FIRST / "drums.wav", np.ones(1000), RATE)
    problem = f"has 1000 samples at {RATE} Hz in 1 channel, but its mixture {FULL}"
    return FIRST / "drums.wav", f"{problem}; {REMEDY}"


def estimate_of_another_rate(root):
    write_audio(root / FIRST / "drums.wav", np.ones(round(MUSIC_SECONDS * RATE)), 22050)
    problem = f"has 26460 samples at 22050 Hz in 1 channel, but its mixture {FULL}"
    return FIRST / "drums.wav", f"{problem}; {REMEDY}"


def estimate_with_more_channels(root):
    write_audio(root / FIRST / "drums.wav", np.ones((round(MUSIC_SECONDS * RATE), 2)), RATE)
    problem = f"has 26460 samples at {RATE} Hz in 2 channels, but its mixture {FULL}"
    return FIRST / "drums.wav", f"{problem}; {REMEDY}"


def unreadable_estimate(root):
    (root / FIRST / "drums.wav").write_bytes(b"no audio at all")
    return FIRST / "drums.wav", f"cannot be read as audio (Format not recognised); {REMEDY}"


def cut(path):
    """Cuts a file short. Returns how many samples libsndfile then finds in it."""
    path.write_bytes(path.read_bytes()[:50000])
    samples = soundfile.info(path).frames
    assert 10_000 < samples < 20_000
    return samples


def truncated_estimate(root):
    samples = cut(root / FIRST / "drums.wav")
    problem = f"has {samples} samples at {RATE} Hz in 1 channel, but its mixture {FULL}"
    return FIRST / "drums.wav", f"{problem}; {REMEDY}"


def truncated_reference(root):
    path = read_list(root, "music")[0][path_column("bass")]
    samples = cut(root / path)
    problem = f"has {samples} samples at {RATE} Hz in 1 channel, but its mixture {FULL}"
    return path, f"{problem}; {REMEDY}"


def truncated_mixture(root):
    path = read_list(root, "music")[0][MIXTURE_PATH]
    seconds = cut(root / path) / RATE
    problem = f"lasts {seconds:g} s, but {root / MUSIC_TEST} says 0.6 s"
    return path, f"{problem}; run the stage that writes the list again"


def missing_list(root):
    (root / MUSIC_TEST).unlink()
    return MUSIC_TEST, f"there is no such file; {REMEDY}"


def empty_list(root):
    (root / MUSIC_TEST).write_text("")
    problem = "is not a valid CSV file (No columns to parse from file)"
    return MUSIC_TEST, f"{problem}; {REMEDY}"


def list_without_rows(root):
    path = root / MUSIC_TEST
    path.write_text(path.read_text().splitlines()[0] + "\n")
    return MUSIC_TEST, f"lists nothing; {REMEDY}"


def list_without_a_column(root):
    frame = pd.read_csv(root / MUSIC_TEST).drop(columns=path_column("bass"))
    frame.to_csv(root / MUSIC_TEST, index=False)
    return MUSIC_TEST, f"has the columns {', '.join(frame)}, but not bass_path; {REMEDY}"


def list_with_an_empty_cell(root):
    rewrite_list(root, "music", other_path=None)
    return MUSIC_TEST, f"nan in row 1, column other_path, is not a path; {REMEDY}"


def list_with_a_wrong_number(root):
    rewrite_list(root, "music", duration="long")
    return MUSIC_TEST, f"'long' in row 1, column duration, is not a number; {REMEDY}"


def wrong_duration(root):
    rewrite_list(root, "music", duration=0.66)
    problem = f"lasts 0.6 s, but {root / MUSIC_TEST} says 0.66 s"
    song = read_list(root, "music")[0][MIXTURE_PATH]
    return song, f"{problem}; run the stage that writes the list again"


def track_twice(root):
    path = root / MUSIC_TEST
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    remedy = "remove one of the two, or rename it"
    return MUSIC_TEST, f"lists the track First (live) twice; {remedy}"


@pytest.mark.parametrize(
    "spoil",
    [
        missing_estimate,
        short_estimate,
        estimate_of_another_rate,
        estimate_with_more_channels,
        unreadable_estimate,
        truncated_estimate,
        truncated_reference,
        truncated_mixture,
        missing_list,
        empty_list,
        list_without_rows,
        list_without_a_column,
        list_with_an_empty_cell,
        list_with_a_wrong_number,
        wrong_duration,
        track_twice,
    ],
)
def test_bad_input_is_one_line_that_names_the_file(music, kept_scores, spoil):
    path, message = spoil(music.root)
    with pytest.raises(InputError) as caught:
        score_music(music.root, 0.25, 0.25, kept_scores)
    assert str(caught.value) == f"{music.root / path}: {message}"


def zeros(references, *_):
    return BssEval(*(np.zeros((len(references), 2)) for _ in range(4)))


def test_a_list_may_round_its_durations(music, kept_scores, monkeypatch):
    monkeypatch.setattr("metrics.music_scores.bss_eval", zeros)
    rewrite_list(music.root, "music", duration=0.64)
    assert set(score_music(music.root, 0.25, 0.25, kept_scores)["track"]) >= {"First (live)"}


def test_progress_without_a_terminal_is_plain_lines(music, kept_scores, capsys, monkeypatch):
    monkeypatch.setattr("metrics.music_scores.bss_eval", zeros)
    score_music(music.root, 0.25, 0.25, kept_scores)
    assert capsys.readouterr().err == "scoring music: 2 of 2 tracks\n"
