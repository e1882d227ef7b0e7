"""Gradient clipping, in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Norms:
    """The gradient norms of all steps so far, in ascending order, on the device of the gradients.

    Attributes:
        ordered: the finite norms, and after them an infinite one for each norm that was infinite
            or NaN: so the number of elements depends on no value, and nothing waits for the device.
    """

    def __init__(self) -> None:
        self.ordered = torch.empty(0)

    def add(self, norm: Tensor) -> None:
        """Adds the norm of a step.

        Args:
            norm: a scalar.
        """
        norm = torch.nan_to_num(norm, nan=torch.inf, posinf=torch.inf).view(1)
        ordered = self.ordered.to(norm)
        # Between its neighbours, the new one is itself; elsewhere, each element is that at its
        # place before, or that one place earlier.
        earlier = torch.cat([torch.zeros_like(norm), ordered])
        later = torch.cat([ordered, torch.full_like(norm, torch.inf)])
        self.ordered = norm.clamp(earlier, later)

    def percentile(self, percent: float) -> Tensor:
        """Returns a percentile of the finite norms, as numpy.percentile interpolates it.

        Args:
            percent: from 0 to 100.

        Returns:
            A scalar; infinite if no norm is finite.
        """
        end = torch.full_like(self.ordered[:1], torch.inf)
        last = (torch.searchsorted(self.ordered, end) - 1).clamp(min=0)
        position = last.double() * (percent / 100)
        below = position.long()
        lower, upper = self.ordered.take(torch.stack([below, torch.minimum(below + 1, last)]))
        share = (position - below).to(lower)
        # Two equal ones may be infinite, between which there is nothing to interpolate.
        return torch.where(lower < upper, lower.lerp(upper, share), lower).squeeze()


# A rule changes the gradients of the parameters. It is given the parameters, all of which have a
# gradient, the gradients' global norm, the settings of a file in conf/clipping, and the norms of
# the steps before, which are empty if the rule adds none.
Rule = Callable[[list[nn.Parameter], Tensor, Mapping[str, Any], Norms], None]


def _none(
    parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any], norms: Norms
) -> None:
    """Leaves the gradients as they are."""


def _by_norm(
    parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any], norms: Norms
) -> None:
    """Multiplies all gradients by min(1, max_norm / global norm) (Pascanu et al. 2013)."""
    torch.nn.utils.clip_grads_with_norm_(parameters, settings["max_norm"], norm)


def _by_value(
    parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any], norms: Norms
) -> None:
    """Limits each element to the range from -max_value to max_value."""
    torch.nn.utils.clip_grad_value_(parameters, settings["max_value"])


def _adaptively(
    parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any], norms: Norms
) -> None:
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


def _automatically(
    parameters: list[nn.Parameter], norm: Tensor, settings: Mapping[str, Any], norms: Norms
) -> None:
    """AutoClip (Seetharaman et al. 2020): by norm, to a percentile of all norms.

    Multiplies all gradients by min(1, limit / global norm). The limit is the percentile of the
    norms of all steps so far, of this one as well. A norm that is infinite or NaN, as of a step
    that overflows in fp16, counts in no percentile.
    """
    norms.add(norm)
    limit = norms.percentile(settings["percentile"])
    # Only the percentile of no finite norm is infinite, and then the norm is not above it.
    scale = torch.where(norm > limit, limit / norm, 1.0)
    torch._foreach_mul_([parameter.grad for parameter in parameters], scale)


CLIPPINGS: dict[str, Rule] = {
    "none": _none,
    "norm": _by_norm,
    "value": _by_value,
    "adaptive": _adaptively,
    "autoclip": _automatically,
}


class Clipping:
    """Clips the gradients of one step after another, in place.

    Args:
        settings: a file of conf/clipping: the `name` of the clipping and its settings.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._norms = Norms()

    def clip(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Clips the gradients of the parameters, in place.

        Args:
            parameters: those without a gradient are left out.

        Returns:
            The gradients' global norm before clipping, a scalar on their device: to read its value
            would mean to wait for the device.
        """
        parameters = [parameter for parameter in parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        CLIPPINGS[self._settings["name"]](parameters, norm, self._settings, self._norms)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint has to keep: the norms so far, if the clipping uses them."""
        return {"norms": self._norms.ordered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from an earlier state.

        Args:
            state: what `state_dict` returned then.
        """
        self._norms.ordered = state["norms"]
