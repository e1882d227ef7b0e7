"""The ten optimizers, as torch.optim has them.

Settings of RMSprop and Adam choose TensorFlow 1's formula instead, as they do for Spleeter.
"""

import math
from functools import partial

import torch
from torch import optim

from svoice.errors import InputError


class RMSprop(optim.RMSprop):
    """s = αs + (1-α)g²; b = μb + g / (√s + ε); p -= lr b, as torch.optim has it.

    Args:
        parameters: what is trained.
        initial_mean_square: s before the first step; 1 in TensorFlow 1.
        epsilon_inside_root: whether to divide by √(s + ε) instead, as TensorFlow does.
        settings: torch.optim's.
    """

    def __init__(
        self, parameters, *, initial_mean_square=0.0, epsilon_inside_root=False, **settings
    ):
        super().__init__(parameters, **settings)
        self._as_torch = not initial_mean_square and not epsilon_inside_root
        for group in self.param_groups:
            group["initial_mean_square"] = initial_mean_square
            group["epsilon_inside_root"] = epsilon_inside_root

    @torch.no_grad()
    def step(self):
        """Take a step."""
        if self._as_torch:
            super().step()  # the same, in fewer operations
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter, group):
        gradient, state = parameter.grad, self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # which torch.optim expects when it loads a state
            state["square_avg"] = torch.full_like(parameter, group["initial_mean_square"])
            if group["momentum"]:
                state["momentum_buffer"] = torch.zeros_like(parameter)
        state["step"] += 1
        square = state["square_avg"]
        square.mul_(group["alpha"]).addcmul_(gradient, gradient, value=1 - group["alpha"])
        if group["epsilon_inside_root"]:
            update = gradient / (square + group["eps"]).sqrt_()
        else:
            update = gradient / square.sqrt().add_(group["eps"])
        if group["momentum"]:
            update = state["momentum_buffer"].mul_(group["momentum"]).add_(update)
        parameter.add_(update, alpha=-group["lr"])


class Adam(optim.Adam):
    """m = β₁m + (1-β₁)g; v = β₂v + (1-β₂)g²; m̂ = m / (1-β₁ᵗ); v̂ = v / (1-β₂ᵗ);
    p -= lr m̂ / (√v̂ + ε), as torch.optim has it.

    Args:
        parameters: what is trained.
        eps: ε.
        epsilon_before_correction: whether ε is added to √v before that is corrected, as TensorFlow
            does and Kingma and Ba before their section 2.1. After the correction it is then
            ε / √(1-β₂ᵗ).
        settings: torch.optim's.
    """

    def __init__(self, parameters, *, eps=1e-8, epsilon_before_correction=False, **settings):
        super().__init__(parameters, eps=eps, **settings)
        self._eps = eps
        for group in self.param_groups:
            group["epsilon_before_correction"] = epsilon_before_correction

    def step(self):
        """Take a step."""
        for group in self.param_groups:
            if group["epsilon_before_correction"]:
                states = (self.state.get(parameter) for parameter in group["params"])
                taken = next((int(state["step"]) for state in states if state), 0)
                group["eps"] = self._eps / math.sqrt(1 - group["betas"][1] ** (taken + 1))
        return super().step()


# Fused, all of the update in one kernel, where torch.optim has that; by itself it takes the next
# best on a GPU, an operation over all parameters at a time.
OPTIMIZERS = {
    "sgd": partial(optim.SGD, fused=True),
    "momentum": partial(optim.SGD, fused=True),
    "nesterov": partial(optim.SGD, fused=True, nesterov=True),
    "adagrad": partial(optim.Adagrad, fused=True),
    "adadelta": optim.Adadelta,
    "rmsprop": RMSprop,
    "adam": partial(Adam, fused=True),
    "adamw": partial(optim.AdamW, fused=True),
    "adamax": optim.Adamax,
    "nadam": optim.NAdam,
}


def make_optimizer(name, settings, parameters):
    """The optimizer `name` over `parameters`, with the settings of conf/optimizer/<name>.yaml.

    The settings' names are torch.optim's, but for beta1 and beta2, which are its `betas`, and for
    those of the classes above.
    """
    if name not in OPTIMIZERS:
        raise InputError("optimizer.name", repr(name), f"one of {', '.join(OPTIMIZERS)}")
    settings = dict(settings)
    if "beta1" in settings:
        settings["betas"] = (settings.pop("beta1"), settings.pop("beta2"))
    return OPTIMIZERS[name](parameters, **settings)
