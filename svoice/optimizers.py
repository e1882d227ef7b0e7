"""The ten optimizers, as torch.optim has them."""

from functools import partial

from torch import optim

from svoice.errors import InputError

# Fused, all of the update in one kernel, where torch.optim has that; by itself it takes the next
# best on a GPU, an operation over all parameters at a time.
OPTIMIZERS = {
    "sgd": partial(optim.SGD, fused=True),
    "momentum": partial(optim.SGD, fused=True),
    "nesterov": partial(optim.SGD, fused=True, nesterov=True),
    "adagrad": partial(optim.Adagrad, fused=True),
    "adadelta": optim.Adadelta,
    "rmsprop": optim.RMSprop,
    "adam": partial(optim.Adam, fused=True),
    "adamw": partial(optim.AdamW, fused=True),
    "adamax": optim.Adamax,
    "nadam": optim.NAdam,
}


def make_optimizer(name, settings, parameters):
    """The optimizer `name` over `parameters`, with the settings of conf/optimizer/<name>.yaml.

    The settings' names are torch.optim's, but for beta1 and beta2, which are its `betas`.
    """
    if name not in OPTIMIZERS:
        raise InputError("optimizer.name", repr(name), f"one of {', '.join(OPTIMIZERS)}")
    settings = dict(settings)
    if "beta1" in settings:
        settings["betas"] = (settings.pop("beta1"), settings.pop("beta2"))
    return OPTIMIZERS[name](parameters, **settings)
