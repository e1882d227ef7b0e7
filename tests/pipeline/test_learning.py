"""Training at the size of the mini preset is of use on real audio.

In CI it takes 300 steps, elsewhere 40, because the others take a minute of a core.
"""

import csv
import json

import numpy as np
import soundfile

from contract.sources import STEMS
from metrics.core.bsseval import bss_eval
from tests.conftest import IN_CI

STEPS = 300 if IN_CI else 40


def test_training_with_adam_makes_estimates_that_are_better_than_the_mixture(repository):
    overrides = ("optimizer=adam", f"spleeter.steps={STEPS}")
    options = [part for override in overrides for part in ("-S", override)]
    repository("dvc", "exp", "run", *options, "evaluate_spleeter")
    results = repository.root / "results" / "spleeter"
    assert json.loads((results / "train.json").read_text())["steps"] == STEPS

    with (repository.root / "data/csv/music/test.csv").open(newline="") as file:
        (track,) = csv.DictReader(file)
    references = np.stack(
        [soundfile.read(repository.root / track[f"{target}_path"])[0] for target in STEMS]
    )
    mixture, rate = soundfile.read(repository.root / track["mix_path"])
    mixture_sdr = bss_eval(references, np.stack([mixture] * len(STEMS)), rate, 1.0, 1.0).SDR
    with (results / "scores.csv").open(newline="") as file:
        estimate_sdr = {row["target"]: float(row["SDR"]) for row in csv.DictReader(file)}
    for target, sdr in zip(STEMS, np.median(mixture_sdr, axis=1), strict=True):
        assert np.isfinite(sdr)
        assert estimate_sdr[target] > sdr, target
