"""The optimizers, with the formulas of torch.optim or of their authors.

Settings of RMSprop and Adam choose TensorFlow 1's formula instead, as they do for Spleeter. In all
formulas g is the gradient, p the weights, lr the learning rate and t the number of the step, from
1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import prodigyopt
import torch
from schedulefree import AdamWScheduleFree
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


class Lion(optim.Optimizer):
    """Lion (Chen et al. 2023, algorithm 2).

    c = β₁m + (1-β₁)g; p -= lr (sign(c) + λp); m = β₂m + (1-β₂)g.

    Args:
        parameters: what is trained.
        lr: the learning rate.
        betas: β₁ and β₂.
        weight_decay: λ.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Takes one step."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            gradients = [p.grad for p in parameters]
            for p in parameters:
                if not self.state[p]:
                    self.state[p]["exp_avg"] = torch.zeros_like(p)
            means = [self.state[p]["exp_avg"] for p in parameters]
            beta1, beta2 = group["betas"]
            # One operation over all parameters at a time.
            updates = torch._foreach_lerp(means, gradients, 1 - beta1)
            torch._foreach_sign_(updates)
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])
            torch._foreach_lerp_(means, gradients, 1 - beta2)


class Muon(optim.Optimizer):
    """Muon for matrices and kernels, and AdamW for all other parameters.

    A kernel is flattened to a matrix with a row for each element of its first axis. Of an m × n
    matrix, b = μb + (1-μ)g; p -= lr λ p + 0.2 √max(m, n) lr O(μb + (1-μ)g), where O returns nearly
    the closest matrix with orthogonal rows or columns (Jordan et al. 2024). With this factor, the
    root mean square of a step is about that of AdamW (Liu et al. 2025, section 2.2), so that all
    parameters share lr and λ. It is also the same for a matrix and its transpose.

    Args:
        parameters: what is trained.
        lr: the learning rate.
        momentum: μ.
        betas: those of AdamW.
        eps: that of AdamW.
        weight_decay: λ.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        adam = {"betas": betas, "eps": eps}
        both = {"lr": lr, "weight_decay": weight_decay}
        super().__init__(parameters, {**both, **adam, "momentum": momentum})
        (group,) = self.param_groups
        self._kernels = [p for p in group["params"] if p.dim() > 1]
        others = [p for p in group["params"] if p.dim() < 2]
        # torch.optim.Muon takes matrices only. Before each step they are made to share the memory
        # of the kernels.
        self._matrices = [nn.Parameter(p.detach().flatten(1)) for p in self._kernels]
        self._parts: dict[str, optim.Optimizer] = {}
        if self._matrices:
            self._parts["muon"] = optim.Muon(
                self._matrices, **both, momentum=momentum, adjust_lr_fn="match_rms_adamw"
            )
        if others:
            self._parts["adamw"] = optim.AdamW(others, **both, **adam, fused=True)

    @torch.no_grad()
    def step(self) -> None:
        """Takes one step."""
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            matrix.data = kernel.data.view(len(kernel), -1)
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            part.step()
        for matrix in self._matrices:
            matrix.grad = None  # so that no gradient outlives `zero_grad`

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of both parts, by name."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores a state.

        Args:
            state_dict: what `state_dict` returned.
        """
        for name, part in self._parts.items():
            part.load_state_dict(state_dict[name])


class Prodigy(prodigyopt.Prodigy):
    """The authors' Prodigy (Mishchenko and Defazio 2023), with Adam's correction of the moments.

    As they recommend with a warm-up, the estimate of the distance does not depend on the learning
    rate.

    Args:
        parameters: what is trained.
        weight_decay: decoupled, as in AdamW.
        settings: those of the authors' class.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, weight_decay: float, **settings: Any
    ) -> None:
        super().__init__(parameters, use_bias_correction=True, safeguard_warmup=True, **settings)
        # The authors' class would print a line about a decay that it is given.
        for group in self.param_groups:
            group["weight_decay"] = weight_decay


class ScheduleFree(AdamWScheduleFree):
    """The authors' Schedule-Free AdamW (Defazio et al. 2024), which is ready to take steps.

    The parameters are y, from which the steps are taken. `averaged` puts their average x in their
    place.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], **settings: Any) -> None:
        super().__init__(parameters, **settings)
        self.train()


@contextmanager
def averaged(optimizer: optim.Optimizer) -> Iterator[None]:
    """Puts the weights to validate and to keep in the place of those that are trained.

    After the block, exactly the weights that are trained are there again, so that it changes no
    later step. Only `ScheduleFree` has others to validate; for all other optimizers this does
    nothing.

    Args:
        optimizer: the optimizer.
    """
    if not isinstance(optimizer, ScheduleFree):
        yield
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    trained = [p.detach().clone() for p in parameters]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()  # computes the same weights, but for rounding
        with torch.no_grad():
            for parameter, weights in zip(parameters, trained, strict=True):
                parameter.copy_(weights)


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
    "lion": Lion,
    "muon": Muon,
    "schedulefree": ScheduleFree,
    "prodigy": Prodigy,
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


def state_bytes(optimizer: optim.Optimizer) -> int:
    """Returns the memory of an optimizer's state, in bytes: of all its tensors, not of the weights.

    Args:
        optimizer: the optimizer, which has taken a step.
    """
    return _bytes(optimizer.state_dict())


def _bytes(content: Any) -> int:
    if isinstance(content, torch.Tensor):
        return content.nbytes
    if isinstance(content, Mapping):
        content = list(content.values())
    return sum(map(_bytes, content)) if isinstance(content, list) else 0
