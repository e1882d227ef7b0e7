"""Every clipping against its formula, in NumPy."""

import io
import math

import numpy as np
import pytest
import torch

from svoice.checkpoint import to_bytes
from svoice.clipping import Clipping, Norms
from svoice.network import SVoice
from tests import formulas


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
    {"name": "autoclip", "percentile": 10.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["name"])
def test_returns_the_norm_before_clipping(parameters, settings):
    expected = global_norm(gradients(parameters))
    assert Clipping(settings).clip(parameters).item() == pytest.approx(expected, rel=1e-5)


def test_none(parameters):
    before = gradients(parameters)
    Clipping({"name": "none"}).clip(parameters)
    assert_close(parameters, before)


@pytest.mark.parametrize("max_norm", [0.5, 5.0, 1e6])
def test_norm(parameters, max_norm):
    before = gradients(parameters)
    Clipping({"name": "norm", "max_norm": max_norm}).clip(parameters)
    scale = min(1.0, max_norm / (global_norm(before) + 1e-6))
    assert (scale < 1) == (max_norm < 1e6)
    assert_close(parameters, [array * scale for array in before])


def test_value(parameters):
    before = gradients(parameters)
    Clipping({"name": "value", "max_value": 0.5}).clip(parameters)
    assert any((abs(array) > 0.5).any() for array in before)
    assert_close(parameters, [array.clip(-0.5, 0.5) for array in before])


def test_adaptive(parameters):
    before = gradients(parameters)
    weights = [parameter.detach().double().numpy() for parameter in parameters]
    Clipping({"name": "adaptive", "factor": 0.01, "epsilon": 1e-3}).clip(parameters)
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


# Norms in no order, two of them the same, and some that count in no percentile, the first as well.
NORMS = [math.inf, 3.0, 7.5, 1.25, 7.5, math.nan, 0.5, 40.0, math.inf, 2.0, 0.125, 6.0, 5.0, 0.0]


@pytest.mark.parametrize("percent", [0.0, 10.0, 37.5, 50.0, 100.0])
def test_the_percentile_of_the_norms_so_far(percent):
    norms, finite = Norms(), []
    for norm in NORMS:
        norms.add(torch.tensor(norm))
        finite += [norm] if math.isfinite(norm) else []
        expected = np.percentile(finite, percent) if finite else math.inf
        assert norms.percentile(percent).item() == pytest.approx(expected, rel=1e-6)
    assert norms.ordered.tolist() == [*sorted(finite), math.inf, math.inf, math.inf]


def gradients_of_norm(norm):
    """Two parameters with gradients of a global norm, from one element if that is not finite."""
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in ((2,), (1, 2))]
    values = torch.full((4,), norm / 2) if math.isfinite(norm) else torch.tensor([norm, 1, 1, 1])
    for parameter, part in zip(parameters, values.split(2), strict=True):
        parameter.grad = part.clone().view_as(parameter)
    return parameters


@pytest.mark.parametrize("percentile", [10.0, 50.0, 100.0])
def test_autoclip(percentile):
    clipping = Clipping({"name": "autoclip", "percentile": percentile})
    scales = formulas.autoclip(NORMS, percentile)
    assert any(0 < scale < 1 for scale in scales) == (percentile < 100)
    for norm, scale in zip(NORMS, scales, strict=True):
        parameters = gradients_of_norm(norm)
        before = gradients(parameters)
        actual = clipping.clip(parameters).item()
        assert actual == pytest.approx(norm, rel=1e-6, nan_ok=True)
        if math.isfinite(norm):
            assert_close(parameters, [array * scale for array in before])


def test_autoclip_leaves_a_gradient_at_the_limit_exactly_as_it_is():
    parameters = gradients_of_norm(3.0)
    Clipping({"name": "autoclip", "percentile": 10.0}).clip(parameters)
    assert all((array == 1.5).all() for array in gradients(parameters))


def test_autoclip_continues_from_the_state_in_a_checkpoint():
    settings = {"name": "autoclip", "percentile": 30.0}
    clipping, resumed = Clipping(settings), Clipping(settings)
    for number, norm in enumerate(NORMS):
        if number == 6:
            content = to_bytes(clipping.state_dict())
            resumed.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
        expected, actual = gradients_of_norm(norm), gradients_of_norm(norm)
        clipping.clip(expected)
        if number >= 6:
            resumed.clip(actual)
            for array, expected_array in zip(gradients(actual), gradients(expected), strict=True):
                np.testing.assert_array_equal(array, expected_array)


def test_only_autoclip_keeps_norms(parameters):
    for settings in SETTINGS:
        clipping = Clipping(settings)
        clipping.clip(parameters)
        count = 1 if settings["name"] == "autoclip" else 0
        assert len(clipping.state_dict()["norms"]) == count
