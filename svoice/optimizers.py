"""The ten optimizers, as torch.optim has them."""

from functools import partial

from torch import optim

from svoice.errors import InputError

OPTIMIZERS = {
    "sgd": optim.SGD,
    "momentum": optim.SGD,
    "nesterov": partial(optim.SGD, nesterov=True),
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "rmsprop": optim.RMSprop,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
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
