"""The menu: every optimizer, learning-rate schedule and gradient clipping, declared once.

A declaration says which settings there are, the range of each, and its key in the group of each
trainer. The checks of configuration.yaml, both trainers, the report's colours and the tables in the
documentation, which `python -m contract.menu` prints, come from here.

A new optimizer needs an entry here, a file in conf/optimizer/, its formula in
spleeter_mod/optimizers.py and svoice/optimizers.py, and, if studies are to tune it, its space in
conf/search/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.ranges import (
    COUNT,
    FACTOR,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    PERCENTAGE,
    POSITIVE,
    POSITIVE_FRACTION,
    WHOLE,
    Range,
    check_settings,
    one_of,
)

SPLEETER, SVOICE = "spleeter", "svoice"  # the trainers, and their keys in configuration.yaml


@dataclass(frozen=True)
class Setting:
    """A setting of a choice.

    Attributes:
        name: its key in Spleeter's group, which is TensorFlow's name for it.
        range: the values that it may have.
        torch: its key in SVoice's group, which is PyTorch's name for it; empty if that is `name`.
        spleeter_default: the value of an optimizer's setting where Spleeter's JSON configuration
            leaves it out, as Spleeter and the study did: that of TensorFlow 1 or, for an optimizer
            that TensorFlow 1 does not have, of PyTorch. None if the configuration has to set it.
    """

    name: str
    range: Range
    torch: str = ""
    spleeter_default: float | None = None

    def key(self, trainer: str) -> str:
        """Returns its key in the group of a trainer.

        Args:
            trainer: `spleeter` or `svoice`.
        """
        return self.torch if self.torch and trainer == SVOICE else self.name


@dataclass(frozen=True)
class Choice:
    """A schedule or a clipping.

    Attributes:
        name: its name, and that of its file in conf/.
        settings: its settings, in the order of the file in conf/.
        description: what it does, for the documentation.
    """

    name: str
    settings: tuple[Setting, ...]
    description: str


@dataclass(frozen=True)
class Optimizer(Choice):
    """An optimizer. The first of its settings is the learning rate.

    Attributes:
        colors: its colour in reports, on a light page and on a dark one, as `#rrggbb`.
        rule: a check of settings against each other, if there is one. It is called with the values
            by `Setting.name`, and returns None or a pair: the name of the wrong setting, and what
            is expected of it, in words.
    """

    colors: tuple[str, str]
    rule: Callable[[Mapping[str, Any]], tuple[str, str] | None] | None = None


LEARNING_RATE = Setting("learning_rate", POSITIVE, torch="lr")
EPSILON = Setting("epsilon", POSITIVE, torch="eps", spleeter_default=1e-8)
BETAS = (
    Setting("beta1", FRACTION, spleeter_default=0.9),
    Setting("beta2", FRACTION, spleeter_default=0.999),
)


def _check_divisor(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Checks that Adagrad never divides by zero.

    TensorFlow 1 has no epsilon in Adagrad, which is safe only if the accumulator begins above 0.
    """
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
        (LEARNING_RATE, Setting("momentum", FRACTION, spleeter_default=0.9)),
        "momentum, the heavy ball (Polyak 1964)",
        colors=("#8c6d31", "#c9a667"),
    ),
    Optimizer(
        "nesterov",
        (LEARNING_RATE, Setting("momentum", FACTOR, spleeter_default=0.9)),
        "Nesterov's momentum (Sutskever et al. 2013)",
        colors=("#bf8300", "#f2b93b"),
    ),
    Optimizer(
        "adagrad",
        (
            LEARNING_RATE,
            Setting("initial_accumulator_value", NOT_NEGATIVE, spleeter_default=0.1),
            Setting("epsilon", NOT_NEGATIVE, torch="eps", spleeter_default=0.0),
        ),
        "a rate for each weight, from all its gradients so far (Duchi, Hazan and Singer 2011)",
        colors=("#2b97d2", "#8fd0f5"),
        rule=_check_divisor,
    ),
    Optimizer(
        "adadelta",
        (LEARNING_RATE, Setting("rho", FRACTION, spleeter_default=0.95), EPSILON),
        "steps in the units of the weights (Zeiler 2012)",
        colors=("#009e73", "#2fc79a"),
    ),
    Optimizer(
        "rmsprop",
        (
            LEARNING_RATE,
            Setting("alpha", FRACTION, spleeter_default=0.9),
            Setting("momentum", FRACTION, spleeter_default=0.0),
            Setting("epsilon", POSITIVE, torch="eps", spleeter_default=1e-10),
            Setting("initial_mean_square", NOT_NEGATIVE, spleeter_default=1.0),
            Setting("epsilon_inside_root", FLAG, spleeter_default=True),
        ),
        "a rate for each weight, from its recent gradients (Hinton 2012, lecture 6e)",
        colors=("#b0578a", "#dd8fb9"),
    ),
    Optimizer(
        "adam",
        (
            LEARNING_RATE,
            *BETAS,
            EPSILON,
            Setting("epsilon_before_correction", FLAG, spleeter_default=True),
        ),
        "adaptive moments (Kingma and Ba 2015)",
        colors=("#0072b2", "#56b4e9"),
    ),
    Optimizer(
        "adamw",
        (
            LEARNING_RATE,
            *BETAS,
            EPSILON,
            Setting("weight_decay", NOT_NEGATIVE, spleeter_default=1e-2),
        ),
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
        (
            LEARNING_RATE,
            *BETAS,
            EPSILON,
            Setting("momentum_decay", NOT_NEGATIVE, spleeter_default=4e-3),
        ),
        "Adam with Nesterov's momentum (Dozat 2016)",
        colors=("#7f8c1a", "#c3cf5a"),
    ),
    Optimizer(
        "lion",
        (
            LEARNING_RATE,
            Setting("beta1", FRACTION, spleeter_default=0.9),
            Setting("beta2", FRACTION, spleeter_default=0.99),
            Setting("weight_decay", NOT_NEGATIVE, spleeter_default=0.0),
        ),
        "the sign of a momentum, found by a search among programs (Chen et al. 2023)",
        colors=("#c8102e", "#ff7a85"),
    ),
    Optimizer(
        "muon",
        (
            LEARNING_RATE,
            Setting("momentum", FRACTION, spleeter_default=0.95),
            *BETAS,
            EPSILON,
            Setting("weight_decay", NOT_NEGATIVE, spleeter_default=0.1),
        ),
        "orthogonal steps for matrices and kernels, AdamW for the other weights (Jordan et al. "
        "2024; Liu et al. 2025)",
        colors=("#00798c", "#4fc4d6"),
    ),
    Optimizer(
        "schedulefree",
        (
            LEARNING_RATE,
            Setting("beta1", FACTOR, spleeter_default=0.9),  # at 0 there would be no average
            Setting("beta2", FRACTION, spleeter_default=0.999),
            EPSILON,
            Setting("weight_decay", NOT_NEGATIVE, spleeter_default=0.0),
        ),
        "AdamW with an average of the weights in the place of a schedule (Defazio et al. 2024)",
        colors=("#3b7d23", "#8ecf6d"),
    ),
    Optimizer(
        "prodigy",
        (
            LEARNING_RATE,
            *BETAS,
            EPSILON,
            Setting("weight_decay", NOT_NEGATIVE, spleeter_default=0.0),
            Setting("d_coef", POSITIVE, spleeter_default=1.0),
            Setting("d0", POSITIVE, spleeter_default=1e-6),
        ),
        "Adam that estimates its rate, which `learning_rate` × `d_coef` scales (Mishchenko and "
        "Defazio 2023)",
        colors=("#7a4a2b", "#cf9c78"),
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
    Choice(
        "linear",
        (Setting("floor", FRACTION), _WARMUP),
        "lowers the rate along a line over the whole run, down to `floor` × the rate",
    ),
    Choice(
        "wsd",
        (Setting("decay", POSITIVE_FRACTION), _WARMUP),
        "keeps the rate, and lowers it along a line to zero over the last part of the run, "
        "`decay` (warm-up, stable, decay: Hu et al. 2024)",
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
    Choice(
        "autoclip",
        (Setting("percentile", PERCENTAGE),),
        "limits the gradient's global norm to that percentile of all norms so far (Seetharaman et "
        "al. 2020)",
    ),
)

GROUPS = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "clipping": CLIPPINGS}


def check_name(group: str, name: Any, where: str = "") -> str:
    """Checks the name of a choice and returns it.

    Args:
        group: `optimizer`, `schedule` or `clipping`.
        name: the name, as the configuration has it.
        where: what an error calls the name; `<group>.name` if empty.

    Raises:
        InputError: the menu has no such choice.
    """
    return one_of(*GROUPS[group]).check(where or f"{group}.name", name)


def ranges(choice: Choice, trainer: str = SPLEETER) -> dict[str, Range]:
    """Returns the range of each setting of a choice, by its key in the group of a trainer.

    Args:
        choice: a choice of the menu.
        trainer: `spleeter` or `svoice`; the settings of schedules and clippings have the same keys
            in both.
    """
    return {setting.key(trainer): setting.range for setting in choice.settings}


def check_optimizer(name: str, values: Any, trainer: str, where: str = "") -> dict[str, Any]:
    """Checks a trainer's settings of an optimizer.

    Args:
        name: the name of the optimizer, as `check_name` returns it.
        values: its settings, by their keys in the group of the trainer.
        trainer: `spleeter` or `svoice`.
        where: what an error calls the group; `optimizer.<trainer>` if empty.

    Returns:
        The settings, each as its range's type.

    Raises:
        InputError: a setting is missing, unknown or wrong.
    """
    optimizer = OPTIMIZERS[name]
    where = where or f"optimizer.{trainer}"
    settings = check_settings(where, values, ranges(optimizer, trainer))
    if optimizer.rule:
        keys = {setting.name: setting.key(trainer) for setting in optimizer.settings}
        if violation := optimizer.rule({name: settings[key] for name, key in keys.items()}):
            wrong_name, expected = violation
            key = keys[wrong_name]
            raise InputError.mismatch(f"{where}.{key}", repr(settings[key]), expected)
    return settings


def check_choice(group: str, values: Any, where: str = "") -> dict[str, Any]:
    """Checks the group `schedule` or `clipping`, with its `name`.

    Args:
        group: the key of the group.
        values: its `name` and its settings.
        where: what an error calls the group; its key if empty.

    Returns:
        The name and the settings, each as its range's type.

    Raises:
        InputError: the name or a setting is missing, unknown or wrong.
    """
    where = where or group
    if not isinstance(values, Mapping):
        raise InputError.mismatch(where, repr(values), "a group of settings with a name")
    if "name" not in values:
        raise InputError(f"{where}.name", "is missing", "set it to one of the choices in conf/")
    name = check_name(group, values["name"], f"{where}.name")
    settings = {key: value for key, value in values.items() if key != "name"}
    return {"name": name, **check_settings(where, settings, ranges(GROUPS[group][name]))}


def table(group: str) -> str:
    """Returns the choices of a group as a table in Markdown, as in docs/experiments.md.

    A setting has its key in the group `spleeter` and, in brackets, its key in the group `svoice` if
    that is another one.

    Args:
        group: `optimizer`, `schedule` or `clipping`.
    """
    rows = [(f"`{group}`", "description", "settings"), ("---", "---", "---")]
    for choice in GROUPS[group].values():
        settings = [
            f"`{setting.name}`" + (f" (`{setting.torch}`)" if setting.torch else "")
            for setting in choice.settings
        ]
        rows.append((f"`{choice.name}`", choice.description, ", ".join(settings) or "none"))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


@one_line
def main() -> None:
    """Prints the three tables."""
    Parser(__doc__).parse_args()
    for group in GROUPS:
        print(f"{group}\n\n{table(group)}")


if __name__ == "__main__":
    main()
