"""Every clipping against its formula, on the shapes of Spleeter's network."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from contract import menu
from spleeter_mod.clipping import CLIPPINGS, NORMS, clip
from tests import formulas
from tests.yaml_files import read_yaml

CONF = Path(__file__).resolve().parents[2] / "conf" / "clipping"
# The name of each variable, its shape, and the axis of its output units.
WEIGHTS = [
    ("conv2d/kernel", (5, 5, 2, 4), 3),
    ("conv2d_transpose/kernel", (5, 5, 3, 4), 2),
    ("conv2d/bias", (4,), None),
]

# The norms of the steps of a run. Some are equal, and some are not finite.
RUN = [3.0, math.inf, 1.0, 2.0, 2.0, 8.0, math.nan, 0.0, 5.0, 0.5, 1e-30, 4.0]


@pytest.fixture
def values():
    """Gradients of very different sizes, some of them zero, and weights."""
    random = np.random.default_rng(0)
    weights = [random.standard_normal(shape) for _, shape, _ in WEIGHTS]
    gradients = [random.standard_normal(shape) * 0.1 for _, shape, _ in WEIGHTS]
    gradients[0][..., 0] *= 1e-4
    gradients[0][..., 1] = 0
    weights[0][..., 2] = 0
    return gradients, weights


def global_norm(arrays):
    return np.sqrt(sum((array**2).sum() for array in arrays))


def clipped(clipping, gradients, weights):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.get_variable(name, initializer=value.astype("f4"))
            for (name, _, _), value in zip(WEIGHTS, weights, strict=True)
        ]
        tensors = [tf.constant(gradient, tf.float32) for gradient in gradients]
        result = clip(tensors, variables, tf.linalg.global_norm(tensors), clipping, steps=1)
        session.run(tf.compat.v1.global_variables_initializer())
        return session.run(result)


def adaptively(gradient, weight, unit_axis, factor, epsilon):
    """Adaptive clipping unit by unit, in a loop."""
    if unit_axis is None:
        units = [(gradient, weight)]
    else:
        units = zip(
            np.moveaxis(gradient, unit_axis, 0), np.moveaxis(weight, unit_axis, 0), strict=True
        )
    clipped_units = []
    for unit_gradient, unit_weight in units:
        limit = factor * max(np.linalg.norm(unit_weight), epsilon)
        norm = np.linalg.norm(unit_gradient)
        clipped_units.append(unit_gradient * limit / norm if norm > limit else unit_gradient)
    if unit_axis is None:
        return clipped_units[0]
    return np.moveaxis(np.stack(clipped_units), 0, unit_axis)


def test_none(values):
    for actual, gradient in zip(clipped({"name": "none"}, *values), values[0], strict=True):
        np.testing.assert_allclose(actual, gradient, rtol=1e-6)


@pytest.mark.parametrize("max_norm", [0.01, 1e3])
def test_norm(values, max_norm):
    scale = min(1, max_norm / (global_norm(values[0]) + 1e-6))
    assert (scale < 1) == (max_norm == 0.01)
    actual = clipped({"name": "norm", "max_norm": max_norm}, *values)
    for array, gradient in zip(actual, values[0], strict=True):
        np.testing.assert_allclose(array, gradient * scale, rtol=1e-5)


def test_value(values):
    actual = clipped({"name": "value", "max_value": 0.05}, *values)
    for array, gradient in zip(actual, values[0], strict=True):
        np.testing.assert_allclose(array, np.clip(gradient, -0.05, 0.05), rtol=1e-6)


def test_adaptive(values):
    actual = clipped({"name": "adaptive", "factor": 0.02, "epsilon": 1e-3}, *values)
    for array, gradient, weight, (_, _, axis) in zip(actual, *values, WEIGHTS, strict=True):
        expected = adaptively(gradient, weight, axis, 0.02, 1e-3)
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-12)
        assert not np.allclose(expected, gradient)


def autoclipped(norms, percentile):
    """Returns what a gradient of each norm is multiplied by, and the norms kept in the end."""
    settings = {"name": "autoclip", "percentile": percentile}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        norm = tf.compat.v1.placeholder(tf.float32, ())
        (scale,) = clip([tf.ones(())], [], norm, settings, steps=len(norms))
        (kept,) = tf.compat.v1.global_variables()
        assert kept.op.name == NORMS
        session.run(tf.compat.v1.global_variables_initializer())
        scales = [session.run(scale, {norm: value}) for value in norms]
        return scales, session.run(kept)


@pytest.mark.parametrize("percentile", [0.0, 10.0, 50.0, 100.0])
def test_autoclip(percentile):
    scales, kept = autoclipped(RUN, percentile)
    expected = formulas.autoclip(RUN, percentile)
    assert any(0 < scale < 1 for scale in expected) == (percentile < 100)
    np.testing.assert_allclose(scales, expected, rtol=1e-6)
    finite = sorted(filter(math.isfinite, RUN))
    infinite = [math.inf] * (len(RUN) - len(finite))
    np.testing.assert_array_equal(kept, np.array([*finite, *infinite], "f4"))


def test_autoclip_interpolates_as_numpy_among_many_norms():
    norms = np.random.default_rng(0).lognormal(size=300).astype("f4").tolist()
    scales, kept = autoclipped(norms, 10.0)
    np.testing.assert_allclose(scales, formulas.autoclip(norms, 10.0), rtol=1e-6)
    np.testing.assert_array_equal(kept, np.sort(np.array(norms, "f4")))


def test_autoclip_leaves_the_gradient_at_the_limit_as_it_is():
    scales, _ = autoclipped([3.0], 10.0)
    assert scales == [1.0]


def test_conf_and_the_menu_have_the_same_clippings():
    files = {read_yaml(path)["name"] for path in CONF.glob("*.yaml")}
    assert files == set(menu.CLIPPINGS) == set(CLIPPINGS)
