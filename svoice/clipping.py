"""Gradient clipping, in place. Each rule is a function of the parameters and its settings."""

import torch

from svoice.errors import InputError


def by_norm(parameters, norm, settings):
    """All gradients × min(1, max_norm / global norm) (Pascanu et al. 2013)."""
    torch.nn.utils.clip_grads_with_norm_(parameters, settings["max_norm"], norm)


def by_value(parameters, norm, settings):
    """Each element into ±max_value."""
    torch.nn.utils.clip_grad_value_(parameters, settings["max_value"])


def unit_norms(tensor):
    """Norm of the weights into each output unit, the first axis; a vector, as a bias is, and a
    scalar count as one unit."""
    if tensor.dim() < 2:
        return tensor.norm()
    return tensor.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.dim() - 1))


def adaptively(parameters, norm, settings):
    """Adaptive gradient clipping (Brock et al. 2021, equation 3): a unit's gradient longer than
    factor × its weights' norm, or epsilon where that is larger, is scaled down to it."""
    for parameter in parameters:
        gradient = parameter.grad
        allowed = settings["factor"] * unit_norms(parameter.detach()).clamp(settings["epsilon"])
        length = unit_norms(gradient)
        # 0 / 0 of a zero gradient is not used: it exceeds nothing.
        gradient.mul_(torch.where(length > allowed, allowed / length, 1.0))


CLIPPINGS = {
    "none": lambda parameters, norm, settings: None,
    "norm": by_norm,
    "value": by_value,
    "adaptive": adaptively,
}


def check_clipping(settings):
    """Raise InputError for a clipping that there is not."""
    if settings["name"] not in CLIPPINGS:
        raise InputError("clipping.name", repr(settings["name"]), f"one of {', '.join(CLIPPINGS)}")


def clip(parameters, settings):
    """Clip the parameters' gradients as a conf/clipping file says.

    → the global norm before clipping, a tensor: reading it would wait for the device.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    CLIPPINGS[settings["name"]](parameters, norm, settings)
    return norm
