import numpy as np
import pytest
import torch

from svoice.clipping import check_clipping, clip
from svoice.errors import InputError
from svoice.network import SVoice


@pytest.fixture
def parameters():
    """A network's parameters with gradients of very different sizes, among them zeros."""
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
    for found, wanted in zip(gradients(parameters), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-12)


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
            allowed = 0.01 * max(np.linalg.norm(weight[unit]), 1e-3)
            length = np.linalg.norm(gradient[unit])
            if length > allowed:
                gradient[unit] *= allowed / length
            kinds.add((matrix, bool(length > allowed)))
    assert len(kinds) == 4, "matrices and vectors, clipped and not"
    assert_close(parameters, expected)


def test_an_unknown_clipping_is_refused():
    with pytest.raises(InputError, match=r"clipping.name: found 'hard', expected one of none"):
        check_clipping({"name": "hard"})
