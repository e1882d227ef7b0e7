"""The learning rate of each step, against the formulas and against PyTorch's where it is there."""

import math

import pytest

from contract.menu import SCHEDULES
from contract.schedules import Length, Plateau, learning_rate

BASE, LENGTH = 0.01, Length(epoch=7, total=70)

FORMULAS = [
    ({"name": "constant"}, lambda k: 1),
    ({"name": "step", "epochs": 2, "factor": 0.98}, lambda k: 0.98 ** math.floor(k / 14)),
    ({"name": "exponential", "factor": 0.95}, lambda k: 0.95 ** (k / 7)),
    ({"name": "cosine", "floor": 0.1}, lambda k: 0.55 + 0.45 * math.cos(math.pi * k / 70)),
    ({"name": "plateau", "patience": 5, "factor": 0.5}, lambda k: 1),
]


@pytest.mark.parametrize("warmup_steps", [0, 1, 20])
@pytest.mark.parametrize(("settings", "factor"), FORMULAS, ids=lambda value: str(value)[:20])
def test_against_the_formula(settings, factor, warmup_steps):
    schedule = {**settings, "warmup_steps": warmup_steps}
    for k in range(LENGTH.total):
        warmup = (k + 1) / warmup_steps if k + 1 < warmup_steps else 1
        rate = learning_rate(BASE, schedule, k, LENGTH)
        assert rate == pytest.approx(BASE * warmup * factor(k), rel=1e-12)


def test_every_schedule_of_the_menu_is_tested():
    assert {settings["name"] for settings, _ in FORMULAS} == set(SCHEDULES)


def test_only_plateau_has_a_state():
    for settings, _ in FORMULAS:
        assert (Plateau.of(BASE, settings) is not None) == (settings["name"] == "plateau")


def test_plateau_by_hand():
    plateau = Plateau(BASE, patience=2, factor=0.5)
    scales = []
    for loss in [5, 4, 4, 4, 4, 3, 3, 3, 3]:
        plateau.validated(loss)
        scales.append(plateau.scale)
    assert scales == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_plateau_makes_no_reduction_of_less_than_1e_8():
    plateau = Plateau(3e-8, patience=0, factor=0.5)
    for _ in range(9):
        plateau.validated(1.0)
    assert plateau.scale == 0.5  # the next would reduce the rate by 0.75e-8


def test_plateau_scales_the_rate_under_its_warm_up():
    schedule = {"name": "plateau", "patience": 5, "factor": 0.5, "warmup_steps": 4}
    rate = learning_rate(BASE, schedule, 1, LENGTH, plateau=0.25)
    assert rate == pytest.approx(BASE * 0.25 * 2 / 4, rel=1e-12)
