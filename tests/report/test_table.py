"""The plain-text table at the end of a run."""

import json
import os
import subprocess
import sys

import pytest

from contract.errors import InputError
from contract.scores import BSS_METRICS
from contract.sources import STEMS
from report.table import render
from tests.conftest import ROOT

REMEDY = "run the stage that writes it again"
TRAIN = {
    "status": "completed",
    "steps": 150,
    "best_valid_loss": 0.43127,
    "final_loss": 0.44,
    "seconds_per_step": 0.9,
    "parameters": 1000,
}
MUSIC = {
    **{
        metric: {"vocals": 1.234, "drums": 2.0, "bass": -3.5, "other": None, "mean": None}
        for metric in BSS_METRICS
    },
    "tracks": 50,
    "unscored_tracks": 3,
    "frames": dict.fromkeys(STEMS, 3000),
    "nan_frames": {"vocals": 120, "drums": 120, "bass": 130, "other": 120},
    "bounds": {
        "mixture": dict.fromkeys([*STEMS, "mean"], -4.5),
        "oracle": dict.fromkeys([*STEMS, "mean"], 9.25),
    },
}
SPEECH = {
    "si_snr": 3.211,
    "si_snr_improvement": 3.009,
    "sdr_improvement": 3.5,
    "mixtures": 8,
    "silent_references": 1,
    "bounds": {
        "mixture": {"si_snr": 0.2, "si_snr_improvement": 0.0, "sdr_improvement": 0.0},
        "oracle": {"si_snr": 12.25, "si_snr_improvement": 12.0, "sdr_improvement": 12.5},
    },
}


def write(root, model, train=None, scores=None):
    """Writes train.json and details.json, those that there are."""
    folder = root / "results" / model
    folder.mkdir(parents=True)
    for name, content in (("train", train), ("details", scores)):
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))


def test_the_table_has_the_results_of_both_models(tmp_path):
    write(tmp_path, "spleeter", TRAIN, MUSIC)
    diverged = {**TRAIN, "status": "diverged", "steps": 7, "best_valid_loss": None}
    write(tmp_path, "svoice", diverged, SPEECH)
    expected = """\
Spleeter, music
===============
status                 completed
steps                        150
best validation loss      0.4313
  from results/spleeter/train.json

median, dB         SDR   mixture    oracle       SIR       SAR       ISR
vocals            1.23     -4.50      9.25      1.23      1.23      1.23
drums             2.00     -4.50      9.25      2.00      2.00      2.00
bass             -3.50     -4.50      9.25     -3.50     -3.50     -3.50
other        undefined     -4.50      9.25 undefined undefined undefined
mean         undefined     -4.50      9.25 undefined undefined undefined
tracks                        50
tracks without scores          3
NaN frames            490 of 12000
  from results/spleeter/details.json

SVoice, speech
==============
status                  DIVERGED
steps                          7
best validation loss   undefined
  from results/svoice/train.json

mean, dB                  SVoice   mixture    oracle
SI-SNR                      3.21      0.20     12.25
SI-SNR improvement          3.01      0.00     12.00
SDR improvement             3.50      0.00     12.50
mixtures                       8
silent references              1
  from results/svoice/details.json"""
    assert render(tmp_path) == expected


def test_the_table_names_missing_results(tmp_path):
    write(tmp_path, "spleeter", TRAIN, None)
    expected = """\
Spleeter, music
===============
status                 completed
steps                        150
best validation loss      0.4313
  from results/spleeter/train.json

no scores: results/spleeter/details.json is missing

SVoice, speech
==============
no training: results/svoice/train.json is missing

no scores: results/svoice/details.json is missing"""
    assert render(tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"status": ', "is not valid JSON (Expecting value: line 1 column 12 (char 11))"),
        ("[]", "is valid JSON, but not an object"),
        ('{"status": "completed"}', "has no steps"),
    ],
)
def test_a_spoiled_file_is_one_line(tmp_path, content, problem):
    write(tmp_path, "spleeter")
    path = tmp_path / "results/spleeter/train.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        render(tmp_path)
    assert str(caught.value) == f"{path}: {problem}; {REMEDY}"


def test_the_command_prints_the_table_or_one_line(tmp_path):
    def run():
        return subprocess.run(
            [sys.executable, "-m", "report.table"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )

    write(tmp_path, "svoice", TRAIN, SPEECH)
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "SI-SNR improvement          3.01" in done.stdout
    (tmp_path / "results/svoice/details.json").write_text("")
    done = run()
    assert done.returncode == 1
    problem = "is not valid JSON (Expecting value: line 1 column 1 (char 0))"
    assert done.stderr == f"ERROR: results/svoice/details.json: {problem}; {REMEDY}\n"
