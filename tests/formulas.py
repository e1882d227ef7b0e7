"""The formulas of optimizers and clippings, in NumPy, for the tests of both trainers.

They are written from the papers and know nothing of the trainers' code. g is the gradient, p the
weights, γ the learning rate of the step and t its number, from 1.

All optimizers here take the same arguments:

- gradients: for each step, the gradient of each parameter;
- weights: each parameter before the first step;
- settings: by their names in Spleeter's group. The learning rate among them is not used;
- rates: the learning rate of each step.

They return the parameters after each step. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Arrays = list[np.ndarray]
Formula = Callable[[Sequence[Arrays], Arrays, Mapping[str, Any], Sequence[float]], list[Arrays]]


def _zeros(weights: Arrays) -> Arrays:
    return [np.zeros(np.shape(p)) for p in weights]


def lion(
    gradients: Sequence[Arrays],
    weights: Arrays,
    settings: Mapping[str, Any],
    rates: Sequence[float],
) -> list[Arrays]:
    """Lion (Chen et al. 2023, algorithm 2)."""
    beta1, beta2, decay = (settings[name] for name in ("beta1", "beta2", "weight_decay"))
    means, steps = _zeros(weights), []
    for gradient, rate in zip(gradients, rates, strict=True):
        mixed = [beta1 * m + (1 - beta1) * g for m, g in zip(means, gradient, strict=True)]
        weights = [p - rate * (np.sign(c) + decay * p) for p, c in zip(weights, mixed, strict=True)]
        means = [beta2 * m + (1 - beta2) * g for m, g in zip(means, gradient, strict=True)]
        steps.append(weights)
    return steps


def orthogonalized(matrix: np.ndarray) -> np.ndarray:
    """Five Newton-Schulz iterations with the coefficients of Jordan et al. (2024).

    Args:
        matrix: of any shape (m, n).

    Returns:
        A matrix with the same singular vectors; the singular values are brought near 1.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / max(np.linalg.norm(x), 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def muon(
    gradients: Sequence[Arrays],
    weights: Arrays,
    settings: Mapping[str, Any],
    rates: Sequence[float],
) -> list[Arrays]:
    """Muon (Jordan et al. 2024), with steps as large as AdamW's (Liu et al. 2025, section 2.2).

    A parameter of two or more axes is a matrix with a row for each element of its first axis; all
    others are trained by AdamW (Loshchilov and Hutter 2019).
    """
    momentum, decay = settings["momentum"], settings["weight_decay"]
    beta1, beta2, epsilon = (settings[name] for name in ("beta1", "beta2", "epsilon"))
    first, second, steps = _zeros(weights), _zeros(weights), []
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        moved = []
        for number, (p, g) in enumerate(zip(weights, gradient, strict=True)):
            if p.ndim > 1:
                first[number] = momentum * first[number] + (1 - momentum) * g
                nesterov = momentum * first[number] + (1 - momentum) * g
                matrix = nesterov.reshape(len(p), -1)
                size = 0.2 * math.sqrt(max(matrix.shape))
                update = size * orthogonalized(matrix).reshape(p.shape)
            else:
                first[number] = beta1 * first[number] + (1 - beta1) * g
                second[number] = beta2 * second[number] + (1 - beta2) * g**2
                root = np.sqrt(second[number] / (1 - beta2**t))
                update = first[number] / (1 - beta1**t) / (root + epsilon)
            moved.append(p - rate * (update + decay * p))
        weights = moved
        steps.append(weights)
    return steps


def schedulefree(
    gradients: Sequence[Arrays],
    weights: Arrays,
    settings: Mapping[str, Any],
    rates: Sequence[float],
    averaged: bool = False,
) -> list[Arrays]:
    """Schedule-Free AdamW (Defazio et al. 2024), as in version 1.4 of its authors' package.

    A step counts in the average with the square of the largest rate so far. The decay is that of y.

    Args:
        averaged: whether to return x, the weights to validate and to keep, in the place of y, at
            which the gradients are taken.
    """
    beta1, beta2, epsilon = (settings[name] for name in ("beta1", "beta2", "epsilon"))
    x = y = z = weights
    second, total, largest, steps = _zeros(weights), 0.0, 0.0, []
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        second = [beta2 * v + (1 - beta2) * g**2 for v, g in zip(second, gradient, strict=True)]
        roots = [np.sqrt(v / (1 - beta2**t)) for v in second]
        z = [
            last - rate * (g / (root + epsilon) + settings["weight_decay"] * at)
            for last, g, root, at in zip(z, gradient, roots, y, strict=True)
        ]
        largest = max(largest, rate)
        total += largest**2
        share = largest**2 / total
        x = [(1 - share) * last + share * new for last, new in zip(x, z, strict=True)]
        y = [(1 - beta1) * new + beta1 * mean for new, mean in zip(z, x, strict=True)]
        steps.append(x if averaged else y)
    return steps


def prodigy(
    gradients: Sequence[Arrays],
    weights: Arrays,
    settings: Mapping[str, Any],
    rates: Sequence[float],
) -> list[Arrays]:
    """Prodigy (Mishchenko and Defazio 2023) by Adam, with two changes that its authors offer.

    The moments are corrected as in Adam, and the denominator of the estimate d does not depend on
    the learning rate. d begins at `d0`, and is that of all parameters together.
    """
    beta1, beta2, epsilon = (settings[name] for name in ("beta1", "beta2", "epsilon"))
    beta3 = math.sqrt(beta2)
    start = d = settings["d0"]
    initial, first, second, sums = weights, _zeros(weights), _zeros(weights), _zeros(weights)
    numerator, steps = 0.0, []
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        step = d * rate * math.sqrt(1 - beta2**t) / (1 - beta1**t)
        numerator *= beta3
        for number, (p, g) in enumerate(zip(weights, gradient, strict=True)):
            numerator += d / start * step * np.sum(g * (initial[number] - p))
            first[number] = beta1 * first[number] + (1 - beta1) * d * g
            second[number] = beta2 * second[number] + (1 - beta2) * (d * g) ** 2
            sums[number] = beta3 * sums[number] + d / start * d * g
        denominator = sum(np.abs(s).sum() for s in sums)
        d = max(d, settings["d_coef"] * numerator / denominator)
        weights = [
            p - step * (settings["weight_decay"] * p + m / (np.sqrt(v) + d * epsilon))
            for p, m, v in zip(weights, first, second, strict=True)
        ]
        # `weights` is a new list, so `initial` keeps the first one.
        steps.append(weights)
    return steps


FORMULAS: dict[str, Formula] = {
    "lion": lion,
    "muon": muon,
    "schedulefree": schedulefree,
    "prodigy": prodigy,
}


def autoclip(norms: Sequence[float], percentile: float) -> list[float]:
    """AutoClip (Seetharaman et al. 2020).

    Args:
        norms: the gradient's global norm of each step. Those that are infinite or NaN count in no
            percentile.
        percentile: from 0 to 100.

    Returns:
        What the gradient of each step is multiplied by. It is 1 while no norm has been finite, and
        where a norm is NaN.
    """
    scales = []
    for number, norm in enumerate(norms, 1):
        finite = [value for value in norms[:number] if math.isfinite(value)]
        limit = np.percentile(finite, percentile) if finite else math.inf
        scales.append(limit / norm if norm > limit else 1.0)
    return scales
