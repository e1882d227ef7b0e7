"""Every clipping against its formula, in NumPy."""

import numpy as np
import pytest
import torch

from svoice.clipping import clip
from svoice.network import SVoice


@pytest.fixture
def parameters():
    """The parameters of a network with gradients of very different sizes, some of them zero."""
    torch.manual_seed(0)
    parameters = list(SVoice(32, 8, 8, 1, 2, 8000, 0.05).parameters())
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.randn_like(parameter) * 10.0 ** (number % 5 - 4)
    parameters[-1].grad.zero_()
    return parameters


def gradients(parameters):
    return [parameter.grad.clone().double().numpy() for parameter in parameters]


def global_norm(arrays):
    return np.sqrt(sum((array**2).sum() for array in arrays))


def assert_close(parameters, expected):
    for actual, wanted in zip(gradients(parameters), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-12)


SETTINGS = [
    {"name": "none"},
    {"name": "norm", "max_norm": 5.0},
    {"name": "value", "max_value": 0.5},
    {"name": "adaptive", "factor": 0.01, "epsilon": 1e-3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["name"])
def test_returns_the_norm_before_clipping(parameters, settings):
    expected = global_norm(gradients(parameters))
    assert clip(parameters, settings).item() == pytest.approx(expected, rel=1e-5)


def test_none(parameters):
    before = gradients(parameters)
    clip(parameters, {"name": "none"})
    assert_close(parameters, before)


@pytest.mark.parametrize("max_norm", [0.5, 5.0, 1e6])
def test_norm(parameters, max_norm):
    before = gradients(parameters)
    clip(parameters, {"name": "norm", "max_norm": max_norm})
    scale = min(1.0, max_norm / (global_norm(before) + 1e-6))
    assert (scale < 1) == (max_norm < 1e6)
    assert_close(parameters, [array * scale for array in before])


def test_value(parameters):
    before = gradients(parameters)
    clip(parameters, {"name": "value", "max_value": 0.5})
    assert any((abs(array) > 0.5).any() for array in before)
    assert_close(parameters, [array.clip(-0.5, 0.5) for array in before])


def test_adaptive(parameters):
    before = gradients(parameters)
    weights = [parameter.detach().double().numpy() for parameter in parameters]
    clip(parameters, {"name": "adaptive", "factor": 0.01, "epsilon": 1e-3})
    expected = [array.copy() for array in before]
    kinds = set()
    for gradient, weight in zip(expected, weights, strict=True):
        matrix = weight.ndim > 1
        for unit in range(len(weight)) if matrix else [...]:
            largest = 0.01 * max(np.linalg.norm(weight[unit]), 1e-3)
            norm = np.linalg.norm(gradient[unit])
            if norm > largest:
                gradient[unit] *= largest / norm
            kinds.add((matrix, bool(norm > largest)))
    assert len(kinds) == 4, "matrices and vectors, clipped and not"
    assert_close(parameters, expected)
