"""Settings as users write them, `key=value` in Hydra's grammar, checked before DVC reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from contract.errors import InputError

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
        key: of the setting.
        value: as it is meant, or in quotation marks.
    """
    value = value.strip("\"'").replace("${", r"\${")
    # Hydra takes a backslash as it is, except for those before a quotation mark.
    value = re.sub(r'(\\*)(")', r"\1\1\\\2", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return "'{}=\"{}\"'".format(key, value.replace("'", "'\\''"))


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
