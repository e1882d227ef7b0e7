"""The optimizers, with the formulas of torch.optim.

Settings of RMSprop and Adam choose TensorFlow 1's formula instead, as they do for Spleeter. In all
formulas g is the gradient, p the weights, lr the learning rate and t the number of the step, from
1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn, optim


class RMSprop(optim.RMSprop):
    """RMSprop with the formula of torch.optim, or with that of TensorFlow 1.

    s = αs + (1-α)g²; b = μb + g / (√s + ε); p -= lr b (Hinton 2012).

    Args:
        parameters: what is trained.
        initial_mean_square: s before the first step; it is 1 in TensorFlow 1.
        epsilon_inside_root: whether to divide by √(s + ε) instead, as TensorFlow does.
        settings: those of torch.optim.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        initial_mean_square: float = 0.0,
        epsilon_inside_root: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(parameters, **settings)
        self._as_torch = not initial_mean_square and not epsilon_inside_root
        for group in self.param_groups:
            group["initial_mean_square"] = initial_mean_square
            group["epsilon_inside_root"] = epsilon_inside_root

    @torch.no_grad()
    def step(self) -> None:
        """Takes one step."""
        if self._as_torch:
            super().step()  # the same formula, in fewer operations
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # torch.optim expects it when it loads a state
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
    """Adam with the formula of torch.optim, or with that of TensorFlow 1.

    m = β₁m + (1-β₁)g; v = β₂v + (1-β₂)g²; m̂ = m / (1-β₁ᵗ); v̂ = v / (1-β₂ᵗ);
    p -= lr m̂ / (√v̂ + ε) (Kingma and Ba 2015, algorithm 1).

    Args:
        parameters: what is trained.
        eps: ε.
        epsilon_before_correction: whether ε is added to √v before the correction of v, as in
            TensorFlow and in the remark before section 2.1 of Kingma and Ba. This is the formula
            above with ε / √(1-β₂ᵗ) in the place of ε.
        settings: those of torch.optim.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        eps: float = 1e-8,
        epsilon_before_correction: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(parameters, eps=eps, **settings)
        self._eps = eps
        for group in self.param_groups:
            group["epsilon_before_correction"] = epsilon_before_correction

    def step(self) -> None:
        """Takes one step."""
        for group in self.param_groups:
            if group["epsilon_before_correction"]:
                states = (self.state.get(parameter) for parameter in group["params"])
                taken = next((int(state["step"]) for state in states if state), 0)
                group["eps"] = self._eps / math.sqrt(1 - group["betas"][1] ** (taken + 1))
        super().step()


# A fused optimizer computes the whole update in one kernel. Where torch.optim has none, it chooses
# by itself what is next best on a GPU: one operation over all parameters at a time.
OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
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


def make_optimizer(
    name: str, settings: Mapping[str, Any], parameters: Iterable[nn.Parameter]
) -> optim.Optimizer:
    """Makes an optimizer.

    Args:
        name: the name of the optimizer, as the menu has it.
        settings: the group `svoice` of conf/optimizer/<name>.yaml. The keys are those of
            torch.optim and of the classes above, except that beta1 and beta2 are its `betas`.
        parameters: what is trained.
    """
    settings = dict(settings)
    if "beta1" in settings:
        settings["betas"] = (settings.pop("beta1"), settings.pop("beta2"))
    return OPTIMIZERS[name](parameters, **settings)
