"""Scores of speech mixtures from files, and the errors about files that are wrong."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from contract.errors import InputError
from contract.layout import ESTIMATES, SPEECH_TEST, SVOICE_RESULTS
from contract.scores import (
    PERCEPTUAL_METRICS,
    SPEECH_METRICS,
    SPEECH_SCORE_COLUMNS,
    SpeechAggregate,
)
from contract.sources import MIXTURE_PATH, path_column, speaker
from metrics.core.sdr import sdr
from metrics.core.si_snr import si_snr
from metrics.speech_scores import aggregate_speech, score_speech
from tests.results import read_list, rewrite_list, write_audio

ESTIMATED = SVOICE_RESULTS / ESTIMATES
REMEDY = "run the stage that writes it again"


def test_rows_and_aggregate_are_those_of_the_formulas(speech, kept_scores):
    scores = score_speech(speech.root, kept_scores)

    expected = []
    for index, item in enumerate(read_list(speech.root, "speech")):
        name = Path(item[MIXTURE_PATH]).name
        mixture, _ = soundfile.read(speech.root / item[MIXTURE_PATH])
        for number, own in enumerate([speaker(1), speaker(2)]):
            matched = speaker((number + index) % 2 + 1)  # the fixture swaps the second mixture's
            reference, _ = soundfile.read(speech.root / item[path_column(own)])
            estimate, _ = soundfile.read(speech.root / ESTIMATED / matched / name)
            score = float(si_snr(reference, estimate))
            gain = score - float(si_snr(reference, mixture))
            sdr_gain = float(np.subtract(*sdr(reference, [estimate, mixture])))
            expected.append([name.removesuffix(".wav"), own, matched, score, gain, sdr_gain])
    frame = pd.DataFrame(expected, columns=SPEECH_SCORE_COLUMNS)
    pd.testing.assert_frame_equal(scores, frame)
    assert (scores["si_snr_improvement"] > 5).all()

    aggregate = aggregate_speech(scores)
    assert aggregate == {
        "si_snr": pytest.approx(np.mean([row[3] for row in expected])),
        "si_snr_improvement": pytest.approx(np.mean([row[4] for row in expected])),
        "sdr_improvement": pytest.approx(np.mean([row[5] for row in expected])),
        "mixtures": 2,
        "silent_references": 0,
    }
    always_there = set(SpeechAggregate.__annotations__) - set(PERCEPTUAL_METRICS)
    assert set(aggregate) == always_there
    json.dumps(aggregate, allow_nan=False)


def test_the_mean_leaves_out_a_silent_reference_but_not_a_silent_estimate(speech, kept_scores):
    item = read_list(speech.root, "speech")[0]
    silence = np.zeros(item["length"])
    write_audio(speech.root / "data/own/silence.wav", silence, item["sample_rate"])
    rewrite_list(speech.root, "speech", s2_path="data/own/silence.wav")
    scores = score_speech(speech.root, kept_scores)
    assert np.isnan(scores["si_snr"]).tolist() == [False, True, False, False]
    assert aggregate_speech(scores)["si_snr"] == pytest.approx(scores["si_snr"].dropna().mean())

    name = Path(read_list(speech.root, "speech")[1][MIXTURE_PATH]).name
    estimate = speech.root / ESTIMATED / speaker(1) / name
    samples, rate = soundfile.read(estimate)
    write_audio(estimate, 0 * samples, rate)
    aggregate = aggregate_speech(score_speech(speech.root, kept_scores))
    assert aggregate == {
        **dict.fromkeys(SPEECH_METRICS),
        "mixtures": 2,
        "silent_references": 1,
    }


def test_the_list_says_how_many_speakers_there_are(speech, kept_scores):
    item = read_list(speech.root, "speech")[0]
    third = np.random.default_rng(0).normal(size=item["length"]) / 10
    mixture, rate = soundfile.read(speech.root / item[MIXTURE_PATH])
    write_audio(speech.root / "data/own/mix/a.wav", mixture + third, rate)
    write_audio(speech.root / "data/own/s3/a.wav", third, rate)
    row = {**item, "mix_path": "data/own/mix/a.wav", "s3_path": "data/own/s3/a.wav"}
    pd.DataFrame([row]).to_csv(speech.root / SPEECH_TEST, index=False)
    for folder, path in zip(
        ["s3", "s1", "s2"], [item["s1_path"], item["s2_path"], "data/own/s3/a.wav"], strict=True
    ):
        samples, _ = soundfile.read(speech.root / path)
        write_audio(speech.root / ESTIMATED / folder / "a.wav", samples + mixture / 9, rate)
    scores = score_speech(speech.root, kept_scores)
    assert list(scores["speaker"]) == ["s1", "s2", "s3"]
    assert list(scores["estimate"]) == ["s3", "s1", "s2"]


# Each function spoils an input and returns the error's file and message.


def missing_estimate(root):
    path = ESTIMATED / speaker(2) / Path(read_list(root, "speech")[0][MIXTURE_PATH]).name
    (root / path).unlink()
    return path, f"there is no such file; {REMEDY}"


def stereo_estimate(root):
    item = read_list(root, "speech")[0]
    path = ESTIMATED / speaker(1) / Path(item[MIXTURE_PATH]).name
    write_audio(root / path, np.ones((item["length"], 2)), 8000)
    samples = f"{item['length']} samples at 8000 Hz"
    problem = f"has {samples} in 2 channels, but its mixture has {samples} in 1 channel"
    return path, f"{problem}; {REMEDY}"


def short_reference(root):
    path = "data/own/short.wav"
    write_audio(root / path, np.ones(100), 8000)
    rewrite_list(root, "speech", s1_path=path)
    length = read_list(root, "speech")[0]["length"]
    problem = (
        "has 100 samples at 8000 Hz in 1 channel, "
        f"but its mixture has {length} samples at 8000 Hz in 1 channel"
    )
    return path, f"{problem}; {REMEDY}"


def mixture_unlike_the_list(root):
    item = read_list(root, "speech")[0]
    length = item["length"]
    rewrite_list(root, "speech", length=length + 1)
    problem = (
        f"has {length} samples at 8000 Hz in 1 channel, "
        f"but {root / SPEECH_TEST} says {length + 1} samples at 8000 Hz in 1 channel"
    )
    return item[MIXTURE_PATH], f"{problem}; run the stage that writes the list again"


def unreadable_mixture(root):
    path = Path("data/own") / Path(read_list(root, "speech")[0][MIXTURE_PATH]).name
    (root / path).parent.mkdir()
    (root / path).write_bytes(b"RIFF....")
    rewrite_list(root, "speech", mix_path=str(path))
    return path, f"cannot be read as audio (Format not recognised); {REMEDY}"


def list_without_sources(root):
    frame = pd.read_csv(root / SPEECH_TEST).drop(columns=["s1_path", "s2_path"])
    frame.to_csv(root / SPEECH_TEST, index=False)
    problem = "has the columns mix_path, length, sample_rate, but not s1_path"
    return SPEECH_TEST, f"{problem}; {REMEDY}"


def mixture_twice(root):
    path = root / SPEECH_TEST
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    name = Path(read_list(root, "speech")[0][MIXTURE_PATH]).name
    return SPEECH_TEST, f"lists the file {name} twice; remove one of the two, or rename it"


@pytest.mark.parametrize(
    "spoil",
    [
        missing_estimate,
        stereo_estimate,
        short_reference,
        mixture_unlike_the_list,
        unreadable_mixture,
        list_without_sources,
        mixture_twice,
    ],
)
def test_bad_input_is_one_line_that_names_the_file(speech, kept_scores, spoil):
    path, message = spoil(speech.root)
    with pytest.raises(InputError) as caught:
        score_speech(speech.root, kept_scores)
    assert str(caught.value) == f"{speech.root / path}: {message}"
