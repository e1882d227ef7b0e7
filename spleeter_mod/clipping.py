"""What is done to the gradients before the optimizer sees them."""

import tensorflow as tf

NORM_EPSILON = 1e-6


def clip(
    clipping: dict,
    gradients: list[tf.Tensor],
    weights: list[tf.Variable],
    global_norm: tf.Tensor,
) -> list[tf.Tensor]:
    """The clipped gradients, in the same order.

    Args:
        clipping: its `name` and the rest of its group in conf/clipping.
        gradients: one for each of `weights`.
        weights: the variables.
        global_norm: L2 norm of all gradients together, scalar.
    """
    return _CLIPPINGS[clipping["name"]](clipping, gradients, weights, global_norm)


def _none(clipping, gradients, weights, global_norm):
    return gradients


def _norm(clipping, gradients, weights, global_norm):
    """Pascanu et al. 2013, section 3.2, as `torch.nn.utils.clip_grad_norm_` computes it."""
    scale = tf.minimum(clipping["max_norm"] / (global_norm + NORM_EPSILON), 1)
    return [gradient * scale for gradient in gradients]


def _value(clipping, gradients, weights, global_norm):
    limit = clipping["max_value"]
    return [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]


def _adaptive(clipping, gradients, weights, global_norm):
    """Brock et al. 2021, "High-performance large-scale image recognition without
    normalization", equation 3: each unit's gradient against its weights."""
    return [
        _clip_units(gradient, weight, clipping["factor"], clipping["epsilon"])
        for gradient, weight in zip(gradients, weights, strict=True)
    ]


def _clip_units(gradient, weight, factor, epsilon):
    axes = _fan_in_axes(weight)
    limit = factor * tf.maximum(_norm_over(weight, axes), epsilon)
    norm = _norm_over(gradient, axes)
    # The maximum only keeps the branch not taken from dividing by zero.
    clipped = gradient * (limit / tf.maximum(norm, 1e-6))
    return tf.where(norm > limit, clipped, gradient)


def _fan_in_axes(weight):
    """All axes but that of the output units. A convolution's kernel is (height, width, inputs,
    outputs), a transposed one's (height, width, outputs, inputs); a vector (bias, gain) is one
    unit, as in the authors' code."""
    if weight.shape.rank != 4:
        return None
    return [0, 1, 3] if "transpose" in weight.op.name else [0, 1, 2]


def _norm_over(tensor, axes):
    return tf.sqrt(tf.reduce_sum(tf.square(tensor), axis=axes, keepdims=True))


_CLIPPINGS = {"none": _none, "norm": _norm, "value": _value, "adaptive": _adaptive}
