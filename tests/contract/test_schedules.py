"""The learning rate of each step follows the formula of its schedule."""

import math

import pytest

from contract.menu import SCHEDULES
from contract.schedules import Length, Plateau, Schedule

BASE, LENGTH = 0.01, Length(epoch=7, total=70)

# By the step k and the length of the training.
FORMULAS = [
    ({"name": "constant"}, lambda k, length: 1),
    (
        {"name": "step", "epochs": 2, "factor": 0.98},
        lambda k, length: 0.98 ** math.floor(k / (2 * length.epoch)),
    ),
    ({"name": "exponential", "factor": 0.95}, lambda k, length: 0.95 ** (k / length.epoch)),
    (
        {"name": "cosine", "floor": 0.1},
        lambda k, length: 0.55 + 0.45 * math.cos(math.pi * k / length.total),
    ),
    (
        {"name": "linear", "floor": 0.1},
        lambda k, length: 1 - 0.9 * k / length.total,
    ),
    (
        {"name": "wsd", "decay": 0.2},
        lambda k, length: (
            1 if k <= 0.8 * length.total else (length.total - k) / (0.2 * length.total)
        ),
    ),
    ({"name": "plateau", "patience": 5, "factor": 0.5}, lambda k, length: 1),
]


@pytest.mark.parametrize("length", [LENGTH, Length(epoch=7, total=40)], ids=str)
@pytest.mark.parametrize("warmup_steps", [0, 1, 20])
@pytest.mark.parametrize(("settings", "factor"), FORMULAS, ids=lambda value: str(value)[:20])
def test_every_rate_follows_the_formula(settings, factor, warmup_steps, length):
    schedule = Schedule(BASE, {**settings, "warmup_steps": warmup_steps}, length)
    for k in reversed(range(length.total)):  # the rate depends on the step, not on the past
        warmup = (k + 1) / warmup_steps if k + 1 < warmup_steps else 1
        assert schedule.rate(k) == pytest.approx(BASE * warmup * factor(k, length), rel=1e-12)


def test_every_schedule_of_the_menu_is_tested():
    assert {settings["name"] for settings, _ in FORMULAS} == set(SCHEDULES)


def test_only_plateau_has_a_state():
    for settings, _ in FORMULAS:
        schedule = Schedule(BASE, {**settings, "warmup_steps": 0}, LENGTH)
        assert (schedule.state() is not None) == (settings["name"] == "plateau")


@pytest.mark.parametrize(
    ("losses", "expected"),  # worked out by hand
    [
        ([5, 4, 4, 4, 4, 3, 3, 3, 3], [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]),
        # A loss must fall by more than a ten thousandth of the best one to count.
        (
            [5.0, 4.0, 4.5, 3.9999, 4.0] + [3.0] * 7,
            [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125],
        ),
    ],
)
def test_plateau_reduces_the_rate_after_more_than_patience_validations(losses, expected):
    plateau = Plateau(BASE, patience=2, factor=0.5)
    scales = []
    for loss in losses:
        plateau.validated(loss)
        scales.append(plateau.scale)
    assert scales == expected


def test_plateau_makes_no_reduction_of_less_than_1e_8():
    plateau = Plateau(3e-8, patience=0, factor=0.5)
    for _ in range(9):
        plateau.validated(1.0)
    assert plateau.scale == 0.5  # the next reduction would be one of 0.75e-8


def test_plateau_scales_the_rate_under_its_warm_up():
    settings = {"name": "plateau", "patience": 0, "factor": 0.5, "warmup_steps": 4}
    schedule = Schedule(BASE, settings, LENGTH)
    for _ in range(3):
        schedule.validated(1.0)
    assert schedule.rate(1) == pytest.approx(BASE * 0.25 * 2 / 4, rel=1e-12)


@pytest.mark.parametrize(("settings", "factor"), FORMULAS, ids=lambda value: str(value)[:20])
def test_a_schedule_continues_from_its_state(settings, factor):
    settings = {**settings, "warmup_steps": 0, "patience": 0}
    interrupted = Schedule(BASE, settings, LENGTH)
    for _ in range(3):
        interrupted.validated(1.0)
    resumed = Schedule(BASE, settings, LENGTH)
    resumed.restore(interrupted.state())
    resumed.validated(1.0)
    interrupted.validated(1.0)
    assert resumed.state() == interrupted.state()
    assert [resumed.rate(k) for k in range(70)] == [interrupted.rate(k) for k in range(70)]


@pytest.mark.parametrize(
    ("settings", "expected"),  # worked out by hand, for ten steps
    [
        ({"name": "linear", "floor": 0.0}, [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ({"name": "linear", "floor": 0.5}, [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55]),
        ({"name": "wsd", "decay": 0.4}, [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        ({"name": "wsd", "decay": 1.0}, [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ({"name": "wsd", "decay": 0.05}, [1] * 10),
    ],
)
def test_a_line_would_reach_its_end_in_the_step_after_the_last(settings, expected):
    schedule = Schedule(1.0, {**settings, "warmup_steps": 0}, Length(epoch=5, total=10))
    assert [schedule.rate(step) for step in range(10)] == pytest.approx(expected, rel=1e-12)


def test_wsd_rises_stays_and_falls():
    settings = {"name": "wsd", "decay": 0.25, "warmup_steps": 2}
    schedule = Schedule(1.0, settings, Length(epoch=4, total=8))
    assert [schedule.rate(step) for step in range(8)] == [0.5, 1, 1, 1, 1, 1, 1, 0.5]
