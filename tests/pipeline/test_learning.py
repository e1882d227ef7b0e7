"""What the models have learnt is worth something: on real audio, at the mini preset's own size."""

import csv
import json

import numpy as np
import soundfile

from contract.layout import STEMS
from metrics.bsseval import bss_eval


def test_300_steps_of_adam_separate_better_than_the_mixture_itself(repository):
    overrides = ("optimizer=adam", "spleeter.steps=300")
    options = [part for override in overrides for part in ("-S", override)]
    repository("dvc", "exp", "run", *options, "evaluate_spleeter")
    results = repository.root / "results" / "spleeter"
    assert json.loads((results / "train.json").read_text())["steps"] == 300

    with (repository.root / "data/csv/music/test.csv").open(newline="") as file:
        (track,) = csv.DictReader(file)
    references = np.stack(
        [soundfile.read(repository.root / track[f"{target}_path"])[0] for target in STEMS]
    )
    mixture, rate = soundfile.read(repository.root / track["mix_path"])
    untouched = bss_eval(references, np.stack([mixture] * len(STEMS)), rate, 1.0, 1.0).SDR
    with (results / "scores.csv").open(newline="") as file:
        found = {row["target"]: float(row["SDR"]) for row in csv.DictReader(file)}
    for target, sdr in zip(STEMS, np.median(untouched, axis=1), strict=True):
        assert np.isfinite(sdr)
        assert found[target] > sdr, target
