"""Gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

NORM_EPSILON = 1e-6  # keeps a zero gradient from dividing by zero, as in PyTorch

Gradients = list[tf.Tensor]
Weights = list[tf.Variable]
# A rule returns the clipped gradients. It is given the gradients, the variables, the gradients'
# global norm, the settings of a file in conf/clipping, and the number of steps of the run.
Rule = Callable[[Gradients, Weights, tf.Tensor, Mapping[str, Any], int], Gradients]

NORMS = "autoclip_norms"  # the name of the variable in which AutoClip keeps the norms


def _none(
    gradients: Gradients,
    weights: Weights,
    norm: tf.Tensor,
    settings: Mapping[str, Any],
    steps: int,
) -> Gradients:
    """Leaves the gradients as they are."""
    return gradients


def _by_norm(
    gradients: Gradients,
    weights: Weights,
    norm: tf.Tensor,
    settings: Mapping[str, Any],
    steps: int,
) -> Gradients:
    """Multiplies all gradients by min(1, max_norm / global norm).

    Pascanu et al. 2013, section 3.2, as `torch.nn.utils.clip_grad_norm_` computes it.
    """
    scale = tf.minimum(settings["max_norm"] / (norm + NORM_EPSILON), 1)
    return [gradient * scale for gradient in gradients]


def _by_value(
    gradients: Gradients,
    weights: Weights,
    norm: tf.Tensor,
    settings: Mapping[str, Any],
    steps: int,
) -> Gradients:
    """Limits each element to the range from -max_value to max_value."""
    limit = settings["max_value"]
    return [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]


def _adaptively(
    gradients: Gradients,
    weights: Weights,
    norm: tf.Tensor,
    settings: Mapping[str, Any],
    steps: int,
) -> Gradients:
    """Adaptive gradient clipping (Brock et al. 2021, equation 3).

    The gradient of a unit is scaled down where its norm exceeds factor × max(the norm of the unit's
    weights, epsilon).
    """
    return [
        _clip_units(gradient, weight, settings["factor"], settings["epsilon"])
        for gradient, weight in zip(gradients, weights, strict=True)
    ]


def _clip_units(
    gradient: tf.Tensor, weight: tf.Variable, factor: float, epsilon: float
) -> tf.Tensor:
    axes = _fan_in_axes(weight)
    limit = factor * tf.maximum(_norm_over(weight, axes), epsilon)
    norm = _norm_over(gradient, axes)
    # The maximum keeps the branch that is not taken from dividing by zero.
    clipped = gradient * (limit / tf.maximum(norm, 1e-6))
    return tf.where(norm > limit, clipped, gradient)


def _fan_in_axes(weight: tf.Variable) -> list[int] | None:
    """Returns all axes except that of the output units; None for all axes.

    The kernel of a convolution is (height, width, inputs, outputs), and that of a transposed one is
    (height, width, outputs, inputs). A vector, as a bias or a gain, is one unit, as in the authors'
    code.
    """
    if weight.shape.rank != 4:
        return None
    return [0, 1, 3] if "transpose" in weight.op.name else [0, 1, 2]


def _norm_over(tensor: tf.Tensor | tf.Variable, axes: list[int] | None) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(tensor), axis=axes, keepdims=True))


def _automatically(
    gradients: Gradients,
    weights: Weights,
    norm: tf.Tensor,
    settings: Mapping[str, Any],
    steps: int,
) -> Gradients:
    """AutoClip (Seetharaman et al. 2020): by norm, to a percentile of all norms.

    Multiplies all gradients by min(1, limit / global norm). The limit is the percentile of the
    norms of all steps so far, of this one as well. A norm that is infinite or NaN counts in no
    percentile.
    """
    norms = _with_norm(norm, steps)
    limit = tf.cast(_percentile(norms, settings["percentile"]), norm.dtype)
    # Only the percentile of no finite norm is infinite, and then the norm is not above it.
    scale = tf.where(norm > limit, limit / norm, 1.0)
    return [gradient * scale for gradient in gradients]


def _with_norm(norm: tf.Tensor, steps: int) -> tf.Tensor:
    """Adds the norm of a step to the variable that keeps those of all steps, for checkpoints.

    Args:
        norm: a scalar.
        steps: the number of steps of the run.

    Returns:
        The finite norms so far in ascending order, followed by infinite values, (steps,).
    """
    kept = tf.compat.v1.get_variable(
        NORMS,
        initializer=tf.fill((steps,), tf.constant(math.inf, norm.dtype)),
        trainable=False,
        use_resource=True,
        # All devices have computed the same norm, and each keeps a copy.
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
    before = kept.read_value()
    place = tf.searchsorted(before, norm[tf.newaxis])[0]
    # The last value leaves room. It is infinite, as no step is taken twice.
    added = tf.concat([before[:place], norm[tf.newaxis], before[place:-1]], 0)
    after = tf.where(tf.math.is_finite(norm), tf.reshape(added, (steps,)), before)
    with tf.control_dependencies([kept.assign(after, read_value=False)]):
        return tf.identity(after)


def _percentile(norms: tf.Tensor, percentile: float) -> tf.Tensor:
    """Returns a percentile of the finite norms, as numpy.percentile interpolates it.

    Args:
        norms: as `_with_norm` returns them.
        percentile: from 0 to 100.

    Returns:
        A float64 scalar; infinite if no norm is finite.
    """
    count = tf.searchsorted(norms, tf.constant([math.inf], norms.dtype))[0]
    last = tf.maximum(count - 1, 0)
    position = tf.cast(last, tf.float64) * (percentile / 100)
    below = tf.cast(tf.floor(position), tf.int32)
    lower = tf.cast(norms[below], tf.float64)
    upper = tf.cast(norms[tf.minimum(below + 1, last)], tf.float64)
    share = position - tf.cast(below, tf.float64)
    # Between two infinite values the interpolation would be NaN.
    return tf.where(lower < upper, lower + share * (upper - lower), lower)


CLIPPINGS: dict[str, Rule] = {
    "none": _none,
    "norm": _by_norm,
    "value": _by_value,
    "adaptive": _adaptively,
    "autoclip": _automatically,
}


def clip(
    gradients: Gradients,
    weights: Weights,
    norm: tf.Tensor,
    settings: Mapping[str, Any],
    steps: int,
) -> Gradients:
    """Returns the clipped gradients, in the same order.

    Args:
        gradients: one for each of `weights`, in its shape.
        weights: the variables.
        norm: the L2 norm of all gradients together, a scalar.
        settings: a file of conf/clipping: the `name` of the clipping and its settings.
        steps: the number of steps of the run.
    """
    return CLIPPINGS[settings["name"]](gradients, weights, norm, settings, steps)
