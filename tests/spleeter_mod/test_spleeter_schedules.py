"""Every schedule against its formula, step by step."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from spleeter_mod import settings
from spleeter_mod.schedules import PLATEAU_FACTORS, Plateau, learning_rate
from tests.yaml_files import read_yaml

BASE, STEPS_PER_EPOCH, TOTAL_STEPS = 0.3, 7, 40
CONF = Path(__file__).resolve().parents[2] / "conf" / "schedule"

SCHEDULES = [
    ({"name": "constant"}, lambda k: 1),
    ({"name": "step", "epochs": 2, "factor": 0.5}, lambda k: 0.5 ** (k // 7 // 2)),
    ({"name": "exponential", "factor": 0.9}, lambda k: 0.9 ** (k / 7)),
    (
        {"name": "cosine", "floor": 0.1},
        lambda k: 0.1 + 0.9 * (1 + math.cos(math.pi * k / 40)) / 2,
    ),
    ({"name": "plateau", "patience": 2, "factor": 0.1}, lambda k: 1),
]


def rates(schedule, plateau_factor=None):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        step = tf.compat.v1.placeholder(tf.int64, ())
        rate = learning_rate(BASE, schedule, step, STEPS_PER_EPOCH, TOTAL_STEPS)
        feed = {}
        if plateau_factor is not None:
            feed = dict.fromkeys(tf.compat.v1.get_collection(PLATEAU_FACTORS), plateau_factor)
        return [session.run(rate, {step: k, **feed}) for k in range(TOTAL_STEPS)]


@pytest.mark.parametrize("warmup_steps", [0, 5])
@pytest.mark.parametrize(("schedule", "factor"), SCHEDULES, ids=lambda value: str(value)[:20])
def test_follows_the_formula(schedule, factor, warmup_steps):
    found = rates({**schedule, "warmup_steps": warmup_steps})
    warmup = [min(1, (k + 1) / warmup_steps) if warmup_steps else 1 for k in range(TOTAL_STEPS)]
    expected = [BASE * warmup[k] * factor(k) for k in range(TOTAL_STEPS)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_menu_is_what_there_is():
    files = {read_yaml(path)["name"] for path in CONF.glob("*.yaml")}
    assert files == set(settings.SCHEDULES) == {schedule["name"] for schedule, _ in SCHEDULES}


def test_the_plateau_factor_reaches_the_rate():
    schedule = {"name": "plateau", "patience": 2, "factor": 0.1, "warmup_steps": 0}
    np.testing.assert_allclose(rates(schedule, 0.25), BASE * 0.25)


def test_the_plateau_reduces_after_more_than_patience_validations_without_a_new_best():
    plateau = Plateau(patience=2, factor=0.5)
    # The fourth is better than the best by less than the threshold.
    losses = [5.0, 4.0, 4.5, 3.9999, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    factors = []
    for loss in losses:
        plateau.update(loss)
        factors.append(plateau.factor)
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
