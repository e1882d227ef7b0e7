"""settings: splits the composed configuration into what each stage depends on.

A stage runs again if its own settings have changed, and not if another one's have. As files, and
not as DVC's parameters, they leave `dvc exp show` to what params.yaml says in short.
"""

from __future__ import annotations

from typing import Any

from contract import files
from contract.composed import read_groups
from contract.errors import InputError
from contract.layout import CONFIGURATION, PARAMS, SETTINGS
from contract.params import check
from contract.yaml_files import flat, value_at, yaml_text
from stages.parts import KEYS, part
from stages.run import run

# Where params.yaml has a name for a group, and the values of both trainers' rates in one line.
NAMED = ("optimizer", "schedule", "clipping")
RATES = ("optimizer.spleeter.learning_rate", "optimizer.svoice.lr")


def main() -> None:
    """Writes settings/."""
    configuration = read_groups(CONFIGURATION)
    check(configuration)
    require_agreement(read_groups(PARAMS), configuration)
    contents = {
        SETTINGS / f"{stage}.yaml": yaml_text(part(configuration, keys))
        for stage, keys in KEYS.items()
    }
    files.write_together(contents)


def summary(configuration: dict[str, Any]) -> dict[str, Any]:
    """Returns what params.yaml says about every configuration.

    Args:
        configuration: all groups.

    Returns:
        The names of the optimizer, the schedule and the clipping, the seed, and both learning
        rates, Spleeter's first.
    """
    rates = (value_at(configuration, key) for key in RATES)
    return {
        **{group: configuration[group]["name"] for group in NAMED},
        "seed": configuration["seed"],
        "rates": ", ".join(map(_short, rates)),
    }


def _short(rate: float) -> str:
    """Returns a number in few characters, as `1e-3` or `0.1`, for a narrow column."""
    mantissa, _, exponent = f"{rate:.6e}".partition("e")
    scientific = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return min(f"{rate:g}", scientific, key=len)


def require_agreement(params: dict[str, Any], configuration: dict[str, Any]) -> None:
    """Raises an error if params.yaml contradicts the configuration that it is a summary of.

    Args:
        params: what params.yaml says.
        configuration: all groups.

    Raises:
        InputError: a value differs, most likely because someone has edited params.yaml.
    """
    expected = summary(configuration)
    values = {**flat(configuration), **expected}
    for key, value in params.items():
        if key not in values:
            remedy = "remove this line, or run `dvc exp run`, which composes the file again"
            raise InputError(PARAMS, f"{key} is no key of {CONFIGURATION}", remedy)
        if values[key] != value:
            problem = f"{key} is {value!r}, but {CONFIGURATION} has {values[key]!r}"
            options = " ".join(f"-S {name}=..." for name in named(key, ""))
            remedy = f"use `dvc exp run {options}`, which writes both files"
            raise InputError(PARAMS, problem, remedy)


def named(key: str, value: str) -> dict[str, str]:
    """Returns the keys behind `-S` that set a key of params.yaml, with their values.

    Args:
        key: the key.
        value: its value, as text.
    """
    if key != "rates":
        return {key.removesuffix(".name"): value}
    parts = value.split(", ") if value else [""] * len(RATES)
    return dict(zip(RATES, parts, strict=False))


if __name__ == "__main__":
    run(main)
