"""Reads YAML as DVC reads it, writes it, and finds the values of nested groups by dotted keys."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from contract.errors import InputError


def read_yaml(path: Path) -> Any:
    """Returns the contents of a YAML file, as `parse_yaml` does.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not YAML.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise _not_yaml(path, error) from None


def parse_yaml(text: str, where: str | Path) -> Any:
    """Returns what a text in YAML means.

    It is read by the rules of YAML 1.2: `1e-3` is a number, and `yes` is a text.

    Args:
        text: the text.
        where: what an error calls it.

    Raises:
        InputError: the text is not YAML.
    """
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:  # a ValueError is a date that no calendar has
        raise _not_yaml(where, error) from None


def yaml_text(values: dict[str, Any]) -> str:
    """Returns nested groups in YAML, a line for each value, in the alphabetical order of the keys.

    Args:
        values: the outermost group.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    text = StringIO()
    yaml.dump(values, text)
    return text.getvalue()


def _not_yaml(where: str | Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(where, f"is not valid YAML ({reason})", "correct it")


def value_at(values: Any, key: str) -> Any:
    """Returns the value of a key in nested groups; None if there is none.

    Args:
        values: the outermost group.
        key: a path of keys joined by dots, as `optimizer.svoice.lr`.
    """
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of nested groups by their keys, as `optimizer.svoice.lr`.

    A group without keys is a value itself.

    Args:
        values: the outermost group.
    """
    flattened = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flattened |= {f"{key}.{rest}": inner for rest, inner in flat(value).items()}
        else:
            flattened[str(key)] = value
    return flattened
