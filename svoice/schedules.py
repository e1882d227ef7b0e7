"""Learning-rate schedules: what the rate of each optimizer step is, and nothing else.

The rate of step k (from 0) is base × warm-up × factor. Without `plateau` that is a pure function
of k; `plateau` also depends on the validation losses and keeps what it needs of them.
"""

import math

from svoice.errors import InputError


class Schedule:
    """base: the optimizer's learning rate; settings: a conf/schedule file; steps_per_epoch and
    total_steps: of the training."""

    def __init__(self, base, settings, steps_per_epoch, total_steps):
        self.base = base
        self.settings = settings
        self.warmup_steps = settings["warmup_steps"]
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps

    def rate(self, k):
        """The learning rate of step k."""
        warmup = min(1.0, (k + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return self.base * warmup * self.factor(k)

    def factor(self, k):
        return 1.0

    def validated(self, loss):
        """Take note of a validation loss."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Constant(Schedule):
    pass


class Step(Schedule):
    def factor(self, k):
        epoch = k // self.steps_per_epoch
        return self.settings["factor"] ** (epoch // self.settings["epochs"])


class Exponential(Schedule):
    def factor(self, k):
        return self.settings["factor"] ** (k / self.steps_per_epoch)


class Cosine(Schedule):
    """Loshchilov and Hutter 2017, equation 5, with a single period."""

    def factor(self, k):
        floor = self.settings["floor"]
        return floor + (1 - floor) * (1 + math.cos(math.pi * k / self.total_steps)) / 2


class Plateau(Schedule):
    """PyTorch's ReduceLROnPlateau: an improvement is a loss below the best × (1 − 1e-4), and
    reductions of the rate by less than 1e-8 are not made."""

    threshold = 1e-4
    smallest_reduction = 1e-8

    def __init__(self, *args):
        super().__init__(*args)
        self.scale = 1.0
        self.best = math.inf
        self.bad = 0

    def factor(self, k):
        return self.scale

    def validated(self, loss):
        if loss < self.best * (1 - self.threshold):
            self.best = loss
            self.bad = 0
        else:
            self.bad += 1
        if self.bad > self.settings["patience"]:
            self.bad = 0
            scale = self.scale * self.settings["factor"]
            if self.base * (self.scale - scale) > self.smallest_reduction:
                self.scale = scale

    def state_dict(self):
        return {"scale": self.scale, "best": self.best, "bad": self.bad}

    def load_state_dict(self, state):
        self.scale, self.best, self.bad = state["scale"], state["best"], state["bad"]


SCHEDULES = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
    "plateau": Plateau,
}


def make_schedule(base, settings, steps_per_epoch, total_steps):
    """The schedule of a conf/schedule file; the arguments are `Schedule`'s."""
    name = settings["name"]
    if name not in SCHEDULES:
        raise InputError("schedule.name", repr(name), f"one of {', '.join(SCHEDULES)}")
    return SCHEDULES[name](base, settings, steps_per_epoch, total_steps)
