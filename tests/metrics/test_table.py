"""The table that ends a run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metrics.errors import InputError
from metrics.table import render

REPOSITORY = Path(__file__).resolve().parents[2]
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
        for metric in ("SDR", "SIR", "SAR", "ISR")
    },
    "tracks": 50,
    "unscored_tracks": 3,
    "frames": dict.fromkeys(["vocals", "drums", "bass", "other"], 3000),
    "nan_frames": {"vocals": 120, "drums": 120, "bass": 130, "other": 120},
}
SPEECH = {
    "si_snr": 3.211,
    "si_snr_improvement": 3.009,
    "sdr_improvement": 3.5,
    "mixtures": 8,
    "silent_references": 1,
}


def write(root, model, train=None, scores=None):
    folder = root / "results" / model
    folder.mkdir(parents=True)
    for name, content in (("train", train), ("scores", scores)):
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))


def test_whole_table(tmp_path):
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

median, dB         SDR       SIR       SAR       ISR
vocals            1.23      1.23      1.23      1.23
drums             2.00      2.00      2.00      2.00
bass             -3.50     -3.50     -3.50     -3.50
other        undefined undefined undefined undefined
mean         undefined undefined undefined undefined
tracks                        50
tracks without scores          3
NaN frames            490 of 12000
  from results/spleeter/scores.json

SVoice, speech
==============
status                  DIVERGED
steps                          7
best validation loss   undefined
  from results/svoice/train.json

mean, dB
SI-SNR                      3.21
SI-SNR improvement          3.01
SDR improvement             3.50
mixtures                       8
silent references              1
  from results/svoice/scores.json"""
    assert render(tmp_path) == expected


def test_missing_results_are_named(tmp_path):
    write(tmp_path, "spleeter", TRAIN, None)
    text = render(tmp_path)
    assert "no scores: results/spleeter/scores.json is missing" in text
    assert "no training: results/svoice/train.json is missing" in text
    assert "no scores: results/svoice/scores.json is missing" in text
    assert "undefined" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"status": ', r"train.json: found Expecting value.*, expected a JSON object"),
        ("[]", r"train.json: found a list, expected a JSON object"),
        ('{"status": "completed"}', r"train.json: found no steps, expected one"),
    ],
)
def test_spoiled_file_is_one_line(tmp_path, content, message):
    write(tmp_path, "spleeter")
    (tmp_path / "results/spleeter/train.json").write_text(content)
    with pytest.raises(InputError, match=message):
        render(tmp_path)


def test_command(tmp_path):
    def run():
        return subprocess.run(
            [sys.executable, "-m", "metrics.table"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )

    write(tmp_path, "svoice", TRAIN, SPEECH)
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "SI-SNR improvement          3.01" in done.stdout
    (tmp_path / "results/svoice/scores.json").write_text("")
    done = run()
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: results/svoice/scores.json: found ")
    assert done.stderr.count("\n") == 1
