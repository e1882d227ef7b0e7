"""Scores of speech mixtures from files, and the ways the files can be wrong."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from metrics.errors import InputError
from metrics.sdr import sdr
from metrics.si_snr import si_snr
from metrics.speech_scores import aggregate_speech, score_speech
from metrics.workspace import SPEECH_METRICS
from tests.metrics.files import read_list, rewrite_list, write


def test_rows_and_aggregate(speech, kept):
    scores = score_speech(speech.root, kept)

    expected = []
    for index, item in enumerate(read_list(speech.root, "speech")):
        name = Path(item["mix_path"]).name
        mixture, _ = soundfile.read(speech.root / item["mix_path"])
        for number, speaker in enumerate(["s1", "s2"]):
            matched = f"s{(number + index) % 2 + 1}"  # the fixture swaps the second mixture's
            reference, _ = soundfile.read(speech.root / item[f"{speaker}_path"])
            estimate, _ = soundfile.read(speech.root / f"results/svoice/estimates/{matched}/{name}")
            score = float(si_snr(reference, estimate))
            gain = score - float(si_snr(reference, mixture))
            sdr_gain = float(np.subtract(*sdr(reference, [estimate, mixture])))
            expected.append([name.removesuffix(".wav"), speaker, matched, score, gain, sdr_gain])
    columns = ["mixture", "speaker", "estimate", *SPEECH_METRICS]
    pd.testing.assert_frame_equal(scores, pd.DataFrame(expected, columns=columns))
    assert (scores["si_snr_improvement"] > 5).all()

    aggregate = aggregate_speech(scores)
    assert aggregate == {
        "si_snr": pytest.approx(np.mean([row[3] for row in expected])),
        "si_snr_improvement": pytest.approx(np.mean([row[4] for row in expected])),
        "sdr_improvement": pytest.approx(np.mean([row[5] for row in expected])),
        "mixtures": 2,
        "silent_references": 0,
    }
    json.dumps(aggregate, allow_nan=False)


def test_silent_reference_is_left_out_of_the_mean_and_a_silent_estimate_is_not(speech, kept):
    item = read_list(speech.root, "speech")[0]
    write(speech.root / "data/own/silence.wav", np.zeros(item["length"]), item["sample_rate"])
    rewrite_list(speech.root, "speech", s2_path="data/own/silence.wav")
    scores = score_speech(speech.root, kept)
    assert np.isnan(scores["si_snr"]).tolist() == [False, True, False, False]
    assert aggregate_speech(scores)["si_snr"] == pytest.approx(scores["si_snr"].dropna().mean())

    name = Path(read_list(speech.root, "speech")[1]["mix_path"]).name
    estimate = speech.root / "results/svoice/estimates/s1" / name
    samples, rate = soundfile.read(estimate)
    write(estimate, 0 * samples, rate)
    aggregate = aggregate_speech(score_speech(speech.root, kept))
    assert aggregate == {
        **dict.fromkeys(SPEECH_METRICS),
        "mixtures": 2,
        "silent_references": 1,
    }


def test_three_speakers(speech, kept):
    """As many speakers as the list has sources of."""
    item = read_list(speech.root, "speech")[0]
    third = np.random.default_rng(0).normal(size=item["length"]) / 10
    mixture, rate = soundfile.read(speech.root / item["mix_path"])
    write(speech.root / "data/own/mix/a.wav", mixture + third, rate)
    write(speech.root / "data/own/s3/a.wav", third, rate)
    row = {**item, "mix_path": "data/own/mix/a.wav", "s3_path": "data/own/s3/a.wav"}
    pd.DataFrame([row]).to_csv(speech.root / "data/csv/speech/test.csv", index=False)
    for folder, path in zip(
        ["s3", "s1", "s2"], [item["s1_path"], item["s2_path"], "data/own/s3/a.wav"], strict=True
    ):
        samples, _ = soundfile.read(speech.root / path)
        write(speech.root / f"results/svoice/estimates/{folder}/a.wav", samples + mixture / 9, rate)
    scores = score_speech(speech.root, kept)
    assert list(scores["speaker"]) == ["s1", "s2", "s3"]
    assert list(scores["estimate"]) == ["s3", "s1", "s2"]


def missing_estimate(root):
    name = Path(read_list(root, "speech")[0]["mix_path"]).name
    (root / "results/svoice/estimates/s2" / name).unlink()
    return rf"estimates/s2/{name}: found no such file, expected audio"


def stereo_estimate(root):
    item = read_list(root, "speech")[0]
    name = Path(item["mix_path"]).name
    path = root / "results/svoice/estimates/s1" / name
    write(path, np.ones((item["length"], 2)), 8000)
    return rf"{name}: found .* in 2 channel\(s\), expected .* in 1 channel\(s\)"


def short_reference(root):
    write(root / "data/own/short.wav", np.ones(100), 8000)
    rewrite_list(root, "speech", s1_path="data/own/short.wav")
    length = read_list(root, "speech")[0]["length"]
    return rf"short.wav: found 100 samples at 8000 Hz .*, expected {length} samples"


def mixture_unlike_the_list(root):
    length = read_list(root, "speech")[0]["length"]
    rewrite_list(root, "speech", length=length + 1)
    return rf"wav: found {length} samples .*, expected {length + 1} samples .* as in .*test.csv"


def unreadable_mixture(root):
    path = root / "data/own" / Path(read_list(root, "speech")[0]["mix_path"]).name
    path.parent.mkdir()
    path.write_bytes(b"RIFF....")
    rewrite_list(root, "speech", mix_path=str(path.relative_to(root)))
    return rf"own/{path.name}: found unreadable data"


def list_without_sources(root):
    path = root / "data/csv/speech/test.csv"
    pd.read_csv(path).drop(columns=["s1_path", "s2_path"]).to_csv(path, index=False)
    return r"speech/test.csv: found the columns mix_path, length, sample_rate, expected s1_path too"


def mixture_twice(root):
    path = root / "data/csv/speech/test.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    return r"speech/test.csv: found the file .*\.wav twice"


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
def test_bad_input_is_one_line_naming_the_file(speech, kept, spoil):
    message = spoil(speech.root)
    with pytest.raises(InputError, match=message) as caught:
        score_speech(speech.root, kept)
    assert "\n" not in str(caught.value)
