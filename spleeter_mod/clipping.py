"""Gradient clipping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

NORM_EPSILON = 1e-6  # keeps a zero gradient from dividing by zero, as in PyTorch

Gradients = list[tf.Tensor]
Weights = list[tf.Variable]
# A rule returns the clipped gradients. It is given the gradients, the variables, the gradients'
# global norm, and the settings of a file in conf/clipping.
Rule = Callable[[Gradients, Weights, tf.Tensor, Mapping[str, Any]], Gradients]


def _none(
    gradients: Gradients, weights: Weights, norm: tf.Tensor, settings: Mapping[str, Any]
) -> Gradients:
    """Leaves the gradients as they are."""
    return gradients


def _by_norm(
    gradients: Gradients, weights: Weights, norm: tf.Tensor, settings: Mapping[str, Any]
) -> Gradients:
    """Multiplies all gradients by min(1, max_norm / global norm).

    Pascanu et al. 2013, section 3.2, as `torch.nn.utils.clip_grad_norm_` computes it.
    """
    scale = tf.minimum(settings["max_norm"] / (norm + NORM_EPSILON), 1)
    return [gradient * scale for gradient in gradients]


def _by_value(
    gradients: Gradients, weights: Weights, norm: tf.Tensor, settings: Mapping[str, Any]
) -> Gradients:
    """Limits each element to the range from -max_value to max_value."""
    limit = settings["max_value"]
    return [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]


def _adaptively(
    gradients: Gradients, weights: Weights, norm: tf.Tensor, settings: Mapping[str, Any]
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


CLIPPINGS: dict[str, Rule] = {
    "none": _none,
    "norm": _by_norm,
    "value": _by_value,
    "adaptive": _adaptively,
}


def clip(
    gradients: Gradients, weights: Weights, norm: tf.Tensor, settings: Mapping[str, Any]
) -> Gradients:
    """Returns the clipped gradients, in the same order.

    Args:
        gradients: one for each of `weights`, in its shape.
        weights: the variables.
        norm: the L2 norm of all gradients together, a scalar.
        settings: a file of conf/clipping: the `name` of the clipping and its settings.
    """
    return CLIPPINGS[settings["name"]](gradients, weights, norm, settings)
