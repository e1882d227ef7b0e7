"""Every choice of the menu trains on the test data.

Outside CI it is every schedule and every clipping with half of the optimizers.
`test_spleeter_optimizers` tests the formulas of all.
"""

import csv
import json
import math
from itertools import cycle
from pathlib import Path

import pytest

from contract.layout import MUSIC_LISTS
from contract.menu import CLIPPINGS, OPTIMIZERS, SCHEDULES
from spleeter_mod import tracks
from spleeter_mod.settings import Settings
from tests.conftest import IN_CI
from tests.spleeter_mod.material import choice

# Every optimizer, with one schedule and one clipping after the other.
MENU = list(zip(OPTIMIZERS, cycle(SCHEDULES), cycle(CLIPPINGS), strict=False))
TRAINED = MENU if IN_CI else MENU[: max(len(SCHEDULES), len(CLIPPINGS))]
STEPS = 10


def test_every_choice_is_tested():
    assert [set(names) for names in zip(*MENU, strict=True)] == [
        *({*OPTIMIZERS}, {*SCHEDULES}, {*CLIPPINGS})
    ]


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "1e3"])
def test_numbers_in_scientific_notation(workspace, written):
    workspace.params["optimizer"]["spleeter"]["learning_rate"] = 0.0123
    workspace.write_params()
    path = workspace.root / "configuration.yaml"
    text = path.read_text()
    assert text.count("0.0123") == 1
    path.write_text(text.replace("0.0123", written))
    assert Settings.read(path).optimizer["learning_rate"] == float(written)


@pytest.fixture
def train(workspace, set_params, monkeypatch):
    """A function that trains in this process, with other groups of parameters."""
    from spleeter_mod import training

    # This cannot be undone, and tests of stock Spleeter in the same process draw without seeds.
    monkeypatch.setattr("spleeter_mod.session.be_deterministic", lambda: None)
    monkeypatch.chdir(workspace.root)

    def train(**groups):
        set_params(workspace, **groups)
        settings = Settings.read(Path("configuration.yaml"))
        lists = [tracks.read(MUSIC_LISTS / f"{part}.csv", 44100) for part in ("train", "valid")]
        scratch = Path("scratch")
        scratch.mkdir()
        caches = training.cache_places(settings, *lists, (Path("cache"), Path("cache")))
        training.train(settings, training.Places(*lists, scratch, caches))

    return train


@pytest.mark.parametrize(("optimizer", "schedule", "clipping"), TRAINED)
def test_ten_steps_lower_the_loss(train, optimizer, schedule, clipping):
    group = choice("optimizer", optimizer)
    if optimizer == "prodigy":
        # Its estimate of the rate, which begins at 1e-6, grows too little within ten steps.
        group["spleeter"]["learning_rate"] *= 10
    train(
        optimizer=group,
        schedule=choice("schedule", schedule),
        clipping=choice("clipping", clipping),
        spleeter={"steps": STEPS, "validate_every": 2},
    )

    with open("results/spleeter/steps.csv", newline="") as file:
        steps = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert len(steps) == STEPS
    assert all(math.isfinite(value) for row in steps for value in row.values())
    assert all(row["learning_rate"] > 0 for row in steps)
    with open("results/spleeter/epochs.csv", newline="") as file:
        losses = [float(row["valid_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.999 * losses[0]


def test_the_rate_falls_on_a_plateau(train, monkeypatch):
    monkeypatch.setattr("spleeter_mod.validation.Validator.loss", lambda validator: 1.0)
    train(
        optimizer={"name": "sgd", "spleeter": {"learning_rate": 0.01}},
        schedule={"name": "plateau", "patience": 0, "factor": 0.5, "warmup_steps": 0},
        spleeter={"steps": 6, "validate_every": 2},
    )
    with open("results/spleeter/steps.csv", newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    # The first validation is the best so far, and the second one no better.
    assert rates == [0.01, 0.01, 0.01, 0.01, 0.005, 0.005]


def test_a_validation_loss_that_is_not_finite_is_a_result(train, capsys):
    train(
        optimizer={"name": "sgd", "spleeter": {"learning_rate": 1e30}},
        schedule={"name": "constant", "warmup_steps": 0},
        clipping={"name": "none"},
        spleeter={"steps": STEPS, "validate_every": 1},
    )
    with open("results/spleeter/epochs.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["step"], row["best_valid_loss"]) == ("1", "nan")
    assert not math.isfinite(float(row["valid_loss"]))
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"diverged: the validation loss after step 1 is {row['valid_loss']}"
    )
    summary = json.loads(Path("results/spleeter/train.json").read_text())
    assert (summary["status"], summary["steps"]) == ("diverged", 1)
