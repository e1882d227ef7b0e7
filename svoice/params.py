"""What the commands read of a composed configuration, and what its values may be."""

import math
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from svoice.errors import InputError


@dataclass(frozen=True)
class Rule:
    """A value is of a type, and `holds`; `expected` says so in words."""

    type: type
    holds: object
    expected: str

    def check(self, key, value):
        """The value as its type. Raises InputError naming the key when it breaks the rule."""
        types = (int, float) if self.type is float else (self.type,)
        if type(value) not in types or not self.holds(value):
            raise InputError(key, repr(value), self.expected)
        return self.type(value)


def one_of(*names):
    return Rule(str, lambda value: value in names, f"one of {', '.join(names)}")


MOST = 2**31 - 1  # what every library takes as a number, a seed, or a size


def whole(least):
    """The rule of a whole number that is at least so large."""
    return Rule(int, lambda value: least <= value <= MOST, f"a whole number from {least} to {MOST}")


WHOLE, COUNT, SEVERAL = whole(0), whole(1), whole(2)
POSITIVE = Rule(float, lambda value: 0 < value < math.inf, "a number above 0")
NOT_NEGATIVE = Rule(float, lambda value: 0 <= value < math.inf, "a number, at least 0")
FRACTION = Rule(float, lambda value: 0 <= value < 1, "a number from 0 up to but not 1")
FACTOR = Rule(float, lambda value: 0 < value < 1, "a number between 0 and 1")
FLAG = Rule(bool, lambda value: True, "true or false")

SPEECH = {"speakers": SEVERAL, "sample_rate": COUNT}
SVOICE = {
    "N": COUNT,
    "L": COUNT,
    "H": COUNT,
    "R": COUNT,
    "group_norm": FLAG,
    "segment_seconds": POSITIVE,
    "stride_seconds": POSITIVE,
    "count_padding": FLAG,
    "batch_size": COUNT,
    "epochs": COUNT,
    "precision": one_of("fp32", "bf16", "fp16"),
    "tf32": FLAG,
    "compile": FLAG,
    "activation_checkpointing": FLAG,
    "accumulation_steps": COUNT,
}

_BETAS = {"lr": POSITIVE, "beta1": FRACTION, "beta2": FRACTION, "eps": POSITIVE}
OPTIMIZERS = {
    "sgd": {"lr": POSITIVE},
    "momentum": {"lr": POSITIVE, "momentum": FRACTION},
    "nesterov": {"lr": POSITIVE, "momentum": FACTOR},
    "adagrad": {"lr": POSITIVE, "initial_accumulator_value": NOT_NEGATIVE, "eps": NOT_NEGATIVE},
    "adadelta": {"lr": POSITIVE, "rho": FRACTION, "eps": POSITIVE},
    "rmsprop": {
        "lr": POSITIVE,
        "alpha": FRACTION,
        "momentum": FRACTION,
        "eps": POSITIVE,
        "initial_mean_square": NOT_NEGATIVE,
        "epsilon_inside_root": FLAG,
    },
    "adam": {**_BETAS, "epsilon_before_correction": FLAG},
    "adamw": {**_BETAS, "weight_decay": NOT_NEGATIVE},
    "adamax": _BETAS,
    "nadam": {**_BETAS, "momentum_decay": NOT_NEGATIVE},
}
SCHEDULES = {
    "constant": {"warmup_steps": WHOLE},
    "step": {"warmup_steps": WHOLE, "epochs": COUNT, "factor": FACTOR},
    "plateau": {"warmup_steps": WHOLE, "patience": WHOLE, "factor": FACTOR},
    "exponential": {"warmup_steps": WHOLE, "factor": FACTOR},
    "cosine": {"warmup_steps": WHOLE, "floor": FRACTION},
}
CLIPPINGS = {
    "none": {},
    "norm": {"max_norm": POSITIVE},
    "value": {"max_value": POSITIVE},
    "adaptive": {"factor": POSITIVE, "epsilon": POSITIVE},
}

KEYS = {
    "seed": None,
    "speech": tuple(SPEECH),
    "svoice": tuple(SVOICE),
    "optimizer": ("name", "svoice"),
    "schedule": None,
    "clipping": None,
}


def read_params(path):
    """The part of params.yaml that determines a run, a dict like the file's.

    Ranges are the pipeline's to check. Raises InputError for a file that is not YAML or lacks a
    key.
    """
    try:
        params = read_yaml(path)
    except (ValueError, YAMLError) as error:
        problem = " ".join(str(error).split())
        raise InputError(path, f"no YAML ({problem})", "the composed configuration") from None
    return choose(params, path)


def read_yaml(path):
    """What a YAML file holds, by the rules of YAML 1.2, as DVC reads it: `1e-3` is a number.

    Raises FileNotFoundError, YAMLError, or ValueError (text that is not UTF-8, a date that no
    calendar has).
    """
    return YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))


def choose(params, where):
    """What KEYS name of a configuration. Raises InputError naming `where` it lacks one."""
    chosen = {}
    for group, names in KEYS.items():
        if not isinstance(params, dict) or group not in params:
            raise InputError(where, f"no key {group}", "the composed configuration")
        if names is None:
            chosen[group] = params[group]
            continue
        for name in names:
            if not isinstance(params[group], dict) or name not in params[group]:
                raise InputError(where, f"no key {group}.{name}", "the composed configuration")
        chosen[group] = {name: params[group][name] for name in names}
    return chosen


def check(params):
    """A composed configuration's KEYS, every value of its type and in its range: for a training
    that no pipeline has checked. Raises InputError naming the first key that is not so."""
    checked = choose(params, "the configuration")
    checked["seed"] = WHOLE.check("seed", checked["seed"])
    checked["speech"] = check_group("speech", checked["speech"], SPEECH)
    # Beside what the training reads, only the preset's name.
    given = {key: value for key, value in params["svoice"].items() if key != "name"}
    checked["svoice"] = check_group("svoice", given, SVOICE)
    most = checked["svoice"]["batch_size"]
    if checked["svoice"]["accumulation_steps"] > most:
        raise InputError(
            "svoice.accumulation_steps",
            checked["svoice"]["accumulation_steps"],
            f"at most svoice.batch_size = {most}",
        )
    name = one_of(*OPTIMIZERS).check("optimizer.name", checked["optimizer"]["name"])
    settings = checked["optimizer"]["svoice"]
    checked["optimizer"]["svoice"] = check_group("optimizer.svoice", settings, OPTIMIZERS[name])
    for group, choices in (("schedule", SCHEDULES), ("clipping", CLIPPINGS)):
        if not isinstance(checked[group], dict):
            raise InputError(group, repr(checked[group]), "a group of keys")
        rule = one_of(*choices)
        name = rule.check(f"{group}.name", checked[group].get("name"))
        checked[group] = check_group(group, checked[group], {"name": rule, **choices[name]})
    return checked


def check_group(where, values, rules):
    """{key: value} by {key: Rule}: no key is missing, and there is no other."""
    if not isinstance(values, dict):
        raise InputError(where, repr(values), "a group of keys")
    for key in values:
        if key not in rules:
            raise InputError(f"{where}.{key}", repr(values[key]), "no such key")
    for key in rules:
        if key not in values:
            raise InputError(f"{where}.{key}", "nothing", "a value")
    return {key: rule.check(f"{where}.{key}", values[key]) for key, rule in rules.items()}


def network_sizes(params):
    """What the network is built with, `SVoice.configuration`."""
    names = ("N", "L", "H", "R", "segment_seconds", "group_norm")
    speech = params["speech"]
    return {
        **{name: params["svoice"][name] for name in names},
        "C": speech["speakers"],
        "sample_rate": speech["sample_rate"],
    }
