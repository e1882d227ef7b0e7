"""The menu: every optimizer, learning-rate schedule and gradient clipping, declared once.

A declaration says which settings there are, what each may be, and what it is called in the group of
either trainer. The validation of params.yaml, both trainers, the report's colours and the table in
the documentation (`python -m contract.menu`) come from here. To add an optimizer: an entry here, a
file in conf/optimizer/, and its formula in spleeter_mod/optimizers.py and svoice/optimizers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contract.errors import InputError
from contract.ranges import (
    COUNT,
    FACTOR,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    WHOLE,
    Range,
    check_settings,
    one_of,
)

SPLEETER, SVOICE = "spleeter", "svoice"  # the trainers, and their keys in params.yaml


@dataclass(frozen=True)
class Setting:
    """A setting of a choice.

    Attributes:
        name: as TensorFlow and Spleeter's group call it.
        range: what it may be.
        torch: as PyTorch and SVoice's group call it, where that differs.
    """

    name: str
    range: Range
    torch: str = ""

    def called(self, trainer: str) -> str:
        """Its key in the group of a trainer."""
        return self.torch if self.torch and trainer == SVOICE else self.name


@dataclass(frozen=True)
class Choice:
    """A schedule or a clipping.

    Attributes:
        name: its key, and the name of its file in conf/.
        settings: in the order in which conf/ has them.
        does: what it does, for the documentation.
    """

    name: str
    settings: tuple[Setting, ...]
    does: str


@dataclass(frozen=True)
class Optimizer(Choice):
    """An optimizer. `settings` begin with the learning rate.

    Attributes:
        colors: its colour in reports, on a light page and on a dark one, as `#rrggbb`.
        rule: a check over several settings, of which it is handed the values by `Setting.name`. It
            returns the name of the wrong one and what is expected of it, or None.
    """

    colors: tuple[str, str] = ("#625e57", "#a7a298")
    rule: Callable[[Mapping[str, Any]], tuple[str, str] | None] | None = None


LEARNING_RATE = Setting("learning_rate", POSITIVE, torch="lr")
EPSILON = Setting("epsilon", POSITIVE, torch="eps")
BETAS = (Setting("beta1", FRACTION), Setting("beta2", FRACTION))


def _divides(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Adagrad of TensorFlow 1 has no epsilon; but then something else must not be zero."""
    if values["epsilon"] or values["initial_accumulator_value"]:
        return None
    return "epsilon", "a number above 0, as initial_accumulator_value is 0"


def _by_name(*choices: Any) -> dict[str, Any]:
    return {choice.name: choice for choice in choices}


OPTIMIZERS: dict[str, Optimizer] = _by_name(
    Optimizer(
        "sgd",
        (LEARNING_RATE,),
        "the plain gradient (Robbins and Monro 1951)",
        colors=("#5f6368", "#b4b8bd"),
    ),
    Optimizer(
        "momentum",
        (LEARNING_RATE, Setting("momentum", FRACTION)),
        "momentum, the heavy ball (Polyak 1964)",
        colors=("#8c6d31", "#c9a667"),
    ),
    Optimizer(
        "nesterov",
        (LEARNING_RATE, Setting("momentum", FACTOR)),
        "Nesterov's momentum (Sutskever et al. 2013)",
        colors=("#bf8300", "#f2b93b"),
    ),
    Optimizer(
        "adagrad",
        (
            LEARNING_RATE,
            Setting("initial_accumulator_value", NOT_NEGATIVE),
            Setting("epsilon", NOT_NEGATIVE, torch="eps"),
        ),
        "a rate for each weight, from all its gradients so far (Duchi, Hazan and Singer 2011)",
        colors=("#2b97d2", "#8fd0f5"),
        rule=_divides,
    ),
    Optimizer(
        "adadelta",
        (LEARNING_RATE, Setting("rho", FRACTION), EPSILON),
        "steps in the units of the weights (Zeiler 2012)",
        colors=("#009e73", "#2fc79a"),
    ),
    Optimizer(
        "rmsprop",
        (
            LEARNING_RATE,
            Setting("alpha", FRACTION),
            Setting("momentum", FRACTION),
            EPSILON,
            Setting("initial_mean_square", NOT_NEGATIVE),
            Setting("epsilon_inside_root", FLAG),
        ),
        "a rate for each weight, from its recent gradients (Hinton 2012, lecture 6e)",
        colors=("#b0578a", "#dd8fb9"),
    ),
    Optimizer(
        "adam",
        (LEARNING_RATE, *BETAS, EPSILON, Setting("epsilon_before_correction", FLAG)),
        "adaptive moments (Kingma and Ba 2015)",
        colors=("#0072b2", "#56b4e9"),
    ),
    Optimizer(
        "adamw",
        (LEARNING_RATE, *BETAS, EPSILON, Setting("weight_decay", NOT_NEGATIVE)),
        "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
        colors=("#d55e00", "#f0883e"),
    ),
    Optimizer(
        "adamax",
        (LEARNING_RATE, *BETAS, EPSILON),
        "Adam by the infinity norm (Kingma and Ba 2015, section 7.1)",
        colors=("#6a4fa3", "#b39ce8"),
    ),
    Optimizer(
        "nadam",
        (LEARNING_RATE, *BETAS, EPSILON, Setting("momentum_decay", NOT_NEGATIVE)),
        "Adam with Nesterov's momentum (Dozat 2016)",
        colors=("#7f8c1a", "#c3cf5a"),
    ),
)

_WARMUP = Setting("warmup_steps", WHOLE)
SCHEDULES: dict[str, Choice] = _by_name(
    Choice("constant", (_WARMUP,), "keeps the rate"),
    Choice(
        "step",
        (Setting("epochs", COUNT), Setting("factor", FACTOR), _WARMUP),
        "multiplies the rate by `factor` after every `epochs` epochs",
    ),
    Choice(
        "plateau",
        (Setting("patience", WHOLE), Setting("factor", FACTOR), _WARMUP),
        "multiplies the rate by `factor` when more than `patience` validations in a row bring no "
        "new best",
    ),
    Choice(
        "exponential",
        (Setting("factor", FACTOR), _WARMUP),
        "multiplies the rate by `factor` over each epoch, a little at every step",
    ),
    Choice(
        "cosine",
        (Setting("floor", FRACTION), _WARMUP),
        "lowers the rate along half a cosine over the whole run, down to `floor` × the rate "
        "(Loshchilov and Hutter 2017)",
    ),
)

CLIPPINGS: dict[str, Choice] = _by_name(
    Choice("none", (), "leaves the gradient as it is"),
    Choice(
        "norm",
        (Setting("max_norm", POSITIVE),),
        "limits the gradient's global norm to `max_norm` (Pascanu et al. 2013)",
    ),
    Choice(
        "value",
        (Setting("max_value", POSITIVE),),
        "limits the size of each element of the gradient to `max_value`",
    ),
    Choice(
        "adaptive",
        (Setting("factor", POSITIVE), Setting("epsilon", POSITIVE)),
        "limits the gradient's norm, unit by unit, to `factor` × the norm of the weights (Brock et "
        "al. 2021)",
    ),
)

GROUPS = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "clipping": CLIPPINGS}


def check_name(group: str, name: Any, where: str = "") -> str:
    """Returns the name of a choice.

    Args:
        group: `optimizer`, `schedule` or `clipping`.
        name: as the configuration has it.
        where: what an error calls the name, `<group>.name` unless this says otherwise.

    Raises:
        InputError: the menu does not have it.
    """
    return one_of(*GROUPS[group]).check(where or f"{group}.name", name)


def ranges(choice: Choice, trainer: str = SPLEETER) -> dict[str, Range]:
    """What each setting of a choice may be, by its key in a trainer's group."""
    return {setting.called(trainer): setting.range for setting in choice.settings}


def check_optimizer(name: str, values: Any, trainer: str, where: str = "") -> dict[str, Any]:
    """Checks a trainer's settings of an optimizer.

    Args:
        name: of the optimizer, as `check_name` returns it.
        values: its settings, by their keys in the group of the trainer.
        trainer: `spleeter` or `svoice`.
        where: what an error calls the group, `optimizer.<trainer>` unless this says otherwise.

    Returns:
        The settings, each as its range's type.

    Raises:
        InputError: the first setting that is wrong.
    """
    optimizer, where = OPTIMIZERS[name], where or f"optimizer.{trainer}"
    settings = check_settings(where, values, ranges(optimizer, trainer))
    if optimizer.rule:
        by_name = {s.name: settings[s.called(trainer)] for s in optimizer.settings}
        if broken := optimizer.rule(by_name):
            (wrong,) = (s for s in optimizer.settings if s.name == broken[0])
            key, value = f"{where}.{wrong.called(trainer)}", by_name[wrong.name]
            raise InputError.mismatch(key, repr(value), broken[1])
    return settings


def check_choice(group: str, values: Any, where: str = "") -> dict[str, Any]:
    """Checks a whole group, `schedule` or `clipping`, with its `name`.

    Args:
        group: the key.
        values: its settings and its `name`.
        where: what an error calls the group, its key unless this says otherwise.

    Raises:
        InputError: the first value that is wrong.
    """
    where = where or group
    if not isinstance(values, Mapping):
        raise InputError.mismatch(where, repr(values), "a group of settings with a name")
    if "name" not in values:
        raise InputError(f"{where}.name", "is missing", "set it to one of the choices in conf/")
    name = check_name(group, values["name"], f"{where}.name")
    rest = {key: value for key, value in values.items() if key != "name"}
    return {"name": name, **check_settings(where, rest, ranges(GROUPS[group][name]))}


def table(group: str) -> str:
    """Returns the choices of a group as a table in Markdown, as docs/experiments.md has it.

    A setting has its name in the group `spleeter` and, in brackets, the one in the group `svoice`
    where that is another.

    Args:
        group: `optimizer`, `schedule` or `clipping`.
    """
    rows = [(f"`{group}`", "description", "settings"), ("---", "---", "---")]
    for choice in GROUPS[group].values():
        settings = [
            f"`{setting.name}`" + (f" (`{setting.torch}`)" if setting.torch else "")
            for setting in choice.settings
        ]
        rows.append((f"`{choice.name}`", choice.does, ", ".join(settings) or "none"))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    for group in GROUPS:
        print(f"{group}\n\n{table(group)}")
