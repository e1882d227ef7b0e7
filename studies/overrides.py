"""Settings as users write them, `key=value` in Hydra's grammar, checked before DVC reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from contract.errors import InputError

Value = str | int | float | bool | None  # the value of a setting, as YAML has it

# A setting ends at a space that is not within quotes or brackets.
_SETTING = re.compile(
    r"""( "([^"\\]|\\.)*" | '([^'\\]|\\.)*' | \[[^]]*\] | \{[^}]*\} | [^\s"'] )+""", re.VERBOSE
)


def split_settings(text: str) -> list[str]:
    """Splits a text at the spaces between its settings: `a=1 b="x y"` are two.

    Raises:
        InputError: a quotation mark is not closed.
    """
    if rest := _SETTING.sub("", text).strip():
        problem = f"a quotation mark is not closed in {text}"
        remedy = f"add the second {rest[0]}; within quotes, write \\{rest[0]} for the mark itself"
        raise InputError("SET", problem, remedy)
    return [match.group() for match in _SETTING.finditer(text)]


def check_setting(text: str, where: str = "-S") -> Override:
    """Returns what Hydra reads in a setting of one value.

    Args:
        text: `key=value`.
        where: what the user wrote it after, for errors.

    Raises:
        InputError: it is not `key=value` in Hydra's grammar, or it names several values.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        remedy = f"write KEY=VALUE, a value with spaces in quotes: {quoted('KEY', 'a b')}"
        raise InputError(where, f"{text!r} is not a setting", remedy)
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        remedy = f"put its value in quotes: {quoted(key, value)}"
        raise InputError(where, f"Hydra cannot read {text}", remedy) from None
    if override.is_sweep_override():
        remedy = f"give one; if a comma is part of it, put it in quotes: {quoted(key, value)}"
        raise InputError(where, f"{text} gives several values", remedy)
    return override


def quoted(key: str, value: str) -> str:
    """Returns a setting for a shell: in the shell's quotation marks, its value in Hydra's.

    Args:
        key: the key of the setting.
        value: as it is meant, or in quotation marks.
    """
    value = _in_hydras_quotes(value.strip("\"'").replace("${", r"\${"))
    return "'{}={}'".format(key, value.replace("'", "'\\''"))


def _in_hydras_quotes(value: str) -> str:
    # Hydra takes a backslash as it is, except for those before a quotation mark.
    value = re.sub(r'(\\*)(")', r"\1\1\\\2", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return f'"{value}"'


@lru_cache(maxsize=None, typed=True)  # otherwise, 1 would be the same as True
def setting(key: str, value: Value, where: str) -> str:
    """Returns a setting of one value, `key=value` in Hydra's grammar.

    A text stands as it is if Hydra reads one value in it, so that `[1, 2]` is a list; any other
    text, such as one with a comma, is put in quotation marks.

    Args:
        key: the key of the setting.
        value: the value of the setting, as YAML has it.
        where: what errors name.

    Raises:
        InputError: Hydra cannot read the key.
    """
    text = f"{key}={plain_text(value)}"
    try:
        check_setting(text, where)
    except InputError:
        if not isinstance(value, str):
            raise
        text = f"{key}={_in_hydras_quotes(value)}"
        check_setting(text, where)
    return text


def plain_text(value: Value) -> str:
    """Returns a value as Hydra writes it, a text without quotation marks."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def check_choices(overrides: Sequence[str], groups: Sequence[str]) -> None:
    """Refuses overrides that leave a group of conf/ without exactly one choice.

    Args:
        overrides: in Hydra's grammar.
        groups: the names of the groups.

    Raises:
        InputError: one is such as `optimizer=[adam,sgd]` or `~optimizer`.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        group = override.key_or_group
        if group not in groups:
            continue
        if override.is_delete():
            problem = f"an experiment needs a choice of {group}"
            raise InputError(f"~{group}", problem, f"choose one: {group}=NAME")
        if override.is_sweep_override():
            continue  # DVC asks for `--queue` and composes each choice separately
        value = override.value()
        if isinstance(value, list):
            choices = ",".join(map(str, value))
            problem = f"[{choices}] is a list, not a choice"
            remedy = f"choose one, or queue one experiment each: `--queue -S '{group}={choices}'`"
            raise InputError(group, problem, remedy)
        if not isinstance(value, str):
            raise InputError.mismatch(group, override.get_value_string(), "the name of a choice")
