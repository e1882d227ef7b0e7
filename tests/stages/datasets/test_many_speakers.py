"""Mixtures of ten speakers, from the user's folder to the scores."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
import soundfile

from contract.sources import speaker
from stages.datasets.wsj0mix import SPLITS
from stages.runtime.virtual_environments import interpreter
from tests.stages import standin
from tests.stages.workspaces import environment, succeed, workspace
from tests.yaml_files import read_yaml, write_yaml

SPEAKERS = tuple(speaker(number) for number in range(1, 11))
TINY = {
    "N": 16,
    "L": 4,
    "H": 4,
    "R": 1,
    "epochs": 1,
    "segment_seconds": 0.25,
    "stride_seconds": 0.5,
}


@pytest.fixture
def workspace_of_ten(tmp_path):
    """A workspace with two mixtures of ten voices in each split, and a tiny network."""
    for split in SPLITS.values():
        for name in ("a.wav", "b.wav"):
            voices = np.stack(
                [
                    standin.utterance(f"{split}/{source}/{name}", (2, 2))[:8000] / 2**19
                    for source in SPEAKERS
                ]
            )
            for part, samples in zip(("mix", *SPEAKERS), (voices.sum(0), *voices), strict=True):
                path = tmp_path / "own" / split / part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples, 8000, subtype="PCM_16")
    root = workspace(tmp_path / "work", "speech", "folder", path=str(tmp_path / "own"), speakers=10)
    params = read_yaml(root / "configuration.yaml")
    params["svoice"].update(TINY)
    write_yaml(root / "configuration.yaml", params)
    return root


def test_ten_speakers_are_trained_on_separated_and_scored(workspace_of_ten):
    root = workspace_of_ten
    for stage in ("fetch_speech", "mix_speech", "csv_speech"):
        succeed(root, stage)
    for verb, options in (("train", ["--scratch", "scratch"]), ("estimate", [])):
        command = [
            interpreter("svoice"),
            "-m",
            f"svoice.{verb}",
            "--params",
            "configuration.yaml",
            *options,
        ]
        done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for stage in ("bound_speech", "evaluate_svoice"):
        succeed(root, stage)
    scores = pd.read_csv(root / "results/svoice/scores.csv")
    for _, rows in scores.groupby("mixture"):
        assert rows["speaker"].tolist() == list(SPEAKERS)
        assert sorted(rows["estimate"]) == sorted(SPEAKERS)
        assert np.isfinite(rows["si_snr_improvement"]).all()
    headlines = json.loads((root / "results/svoice/details.json").read_text())
    assert headlines["mixtures"] == 2
    assert headlines["si_snr"] == pytest.approx(scores["si_snr"].mean())
    train = json.loads((root / "results/svoice/train.json").read_text())
    assert train["status"] == "completed"
