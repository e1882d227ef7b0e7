"""Gradient clipping, in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# A rule changes the gradients of the parameters. It is given the parameters, all of which have a
# gradient, the gradients' global norm, and the settings of a file in conf/clipping.
Rule = Callable[[list[nn.Parameter], Tensor, Mapping[str, Any]], None]


def _none(parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any]) -> None:
    """Leaves the gradients as they are."""


def _by_norm(parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any]) -> None:
    """Multiplies all gradients by min(1, max_norm / global norm) (Pascanu et al. 2013)."""
    torch.nn.utils.clip_grads_with_norm_(parameters, settings["max_norm"], norm)


def _by_value(parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any]) -> None:
    """Limits each element to the range from -max_value to max_value."""
    torch.nn.utils.clip_grad_value_(parameters, settings["max_value"])


def _adaptively(parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any]) -> None:
    """Adaptive gradient clipping (Brock et al. 2021, equation 3).

    The gradient of a unit is scaled down where its norm exceeds factor × max(the norm of the unit's
    weights, epsilon).
    """
    for parameter in parameters:
        gradient = parameter.grad
        largest = settings["factor"] * _unit_norms(parameter.detach()).clamp(settings["epsilon"])
        norms = _unit_norms(gradient)
        # A zero gradient makes the quotient 0 / 0, which `where` does not use.
        gradient.mul_(torch.where(norms > largest, largest / norms, 1.0))


def _unit_norms(tensor: Tensor) -> Tensor:
    """Returns the norm of the weights into each output unit, which is the first axis.

    A vector, as a bias is, and a scalar count as one unit. The result broadcasts to `tensor`.
    """
    if tensor.dim() < 2:
        return tensor.norm()
    return tensor.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.dim() - 1))


CLIPPINGS: dict[str, Rule] = {
    "none": _none,
    "norm": _by_norm,
    "value": _by_value,
    "adaptive": _adaptively,
}


def clip(parameters: Iterable[nn.Parameter], settings: Mapping[str, Any]) -> Tensor:
    """Clips the gradients of the parameters, in place.

    Args:
        parameters: those without a gradient are left out.
        settings: a file of conf/clipping: the `name` of the clipping and its settings.

    Returns:
        The gradients' global norm before clipping, a scalar on their device: to read its value
        would mean to wait for the device.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    CLIPPINGS[settings["name"]](parameters, norm, settings)
    return norm
