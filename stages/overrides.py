"""Settings as users write them, `key=value` in Hydra's grammar, checked before DVC reads them."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from metrics.errors import InputError

# What stands in quotes or brackets belongs together, spaces and all.
_SETTING = re.compile(
    r"""( "([^"\\]|\\.)*" | '([^'\\]|\\.)*' | \[[^]]*\] | \{[^}]*\} | [^\s"'] )+""", re.VERBOSE
)


def split_settings(text: str) -> list[str]:
    """The settings in a text, which are separated by spaces: `a=1 b="x y"` are two.

    Raises:
        InputError: a quotation mark has no partner.
    """
    if rest := _SETTING.sub("", text).strip():
        expected = f"a second {rest[0]} or, before one that is part of the value, a \\ in quotes"
        raise InputError("SET", f"one {rest[0]} in {text!r}", expected)
    return [found.group() for found in _SETTING.finditer(text)]


def check_setting(text: str, where: str = "-S") -> Override:
    """What Hydra reads in a setting of one value.

    Args:
        text: `key=value`.
        where: what the user wrote it behind.

    Raises:
        InputError: it is not `key=value` in Hydra's grammar, or it names several values.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        expected = f"KEY=VALUE, with a value that has spaces in quotes: {quoted('KEY', 'a b')}"
        raise InputError(where, repr(text), expected)
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        expected = f"its value in quotes: {quoted(key, value)}"
        raise InputError(where, text, expected) from None
    if override.is_sweep_override():
        expected = f"one value; where a comma is part of it, in quotes: {quoted(key, value)}"
        raise InputError(where, text, expected)
    return override


def quoted(key: str, value: str) -> str:
    """A setting for a shell, in its quotation marks, with its value in Hydra's."""
    value = value.strip("\"'").replace("${", r"\${")
    # To Hydra a backslash is one, but for those before a quotation mark.
    value = re.sub(r'(\\*)(")', r"\1\1\\\2", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return "'{}=\"{}\"'".format(key, value.replace("'", "'\\''"))


def check_choices(overrides: Sequence[str], groups: Sequence[str]) -> None:
    """Refuses a setting that takes no choice or several of a group of conf/.

    Raises:
        InputError: such as `optimizer=[adam,sgd]` or `~optimizer`.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        group = override.key_or_group
        if group not in groups:
            continue
        if override.is_delete():
            raise InputError(f"~{group}", "no choice", f"one, as {group}=NAME")
        if override.is_sweep_override():
            continue  # DVC asks for `--queue`, and composes each by itself
        value = override.value()
        if isinstance(value, list):
            choices = ",".join(map(str, value))
            expected = f"one choice, or `--queue -S '{group}={choices}'` for an experiment of each"
            raise InputError(group, f"the list [{choices}]", expected)
        if not isinstance(value, str):
            raise InputError(group, override.get_value_string(), "the name of a choice")
