"""Ranges of settings, and checks that report the first wrong setting in one clear line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract.errors import InputError

LARGEST = 2**31 - 1  # the largest count, seed or size that every library accepts


@dataclass(frozen=True)
class Range:
    """The values that a setting may have.

    Attributes:
        type: `int`, `float` (which accepts whole numbers, too), `bool` or `str`.
        words: the range in words, for errors.
        least: the lower bound of a number.
        most: the upper bound of a number.
        open: which bounds do not belong to the range: `<` the lower, `>` the upper, `<>` both.
        choices: the texts that are allowed; any text if empty.
        multiple: the number that whole numbers must be a multiple of.
    """

    type: type
    words: str
    least: float = -math.inf
    most: float = math.inf
    open: str = ""
    choices: tuple[str, ...] = ()
    multiple: int = 1

    def holds(self, value: Any) -> bool:
        """Returns whether a value has the right type and is in the range.

        Args:
            value: as the configuration has it.
        """
        if type(value) not in ((int, float) if self.type is float else (self.type,)):
            return False
        if self.type is str:
            return bool(value) and (not self.choices or value in self.choices)
        return (
            _is_finite(value)
            and (self.least < value if "<" in self.open else self.least <= value)
            and (value < self.most if ">" in self.open else value <= self.most)
            and not (self.type is int and value % self.multiple)
        )

    def check(self, key: str, value: Any) -> Any:
        """Returns the value as the range's type.

        Args:
            key: what an error calls the setting.
            value: as the configuration has it.

        Raises:
            InputError: the value is not in the range.
        """
        if not self.holds(value):
            raise InputError.mismatch(key, repr(value), self.words)
        return self.type(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


POSITIVE = Range(float, "a number above 0", least=0, open="<")
NOT_NEGATIVE = Range(float, "a number of at least 0", least=0)
FRACTION = Range(float, "a number from 0 to below 1", least=0, most=1, open=">")
POSITIVE_FRACTION = Range(float, "a number above 0 and up to 1", least=0, most=1, open="<")
PERCENTAGE = Range(float, "a number from 0 to 100", least=0, most=100)
FACTOR = Range(float, "a number between 0 and 1", least=0, most=1, open="<>")
COUNT = Range(int, f"a whole number from 1 to {LARGEST}", least=1, most=LARGEST)
WHOLE = Range(int, f"a whole number from 0 to {LARGEST}", least=0, most=LARGEST)
FLAG = Range(bool, "true or false")
SAMPLES = f"at least one sample, at most {LARGEST}"  # the words for a duration in seconds


def multiple_of(number: int) -> Range:
    """Returns the range of the whole numbers that are multiples of `number`."""
    words = f"a multiple of {number}, at most {LARGEST}"
    return Range(int, words, least=number, most=LARGEST, multiple=number)


def between(least: int, most: int) -> Range:
    """Returns the range of the whole numbers between two bounds.

    Args:
        least: the smallest of them.
        most: the largest of them.
    """
    return Range(int, f"a whole number from {least} to {most}", least=least, most=most)


def one_of(*choices: str) -> Range:
    """Returns the range of a text that is one of several.

    Args:
        choices: the texts.
    """
    words = f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    return Range(str, words, choices=choices)


@dataclass(frozen=True)
class ListOf:
    """The range of a list.

    Attributes:
        item: the range of each value.
        count: how many values there are.
    """

    item: Range
    count: int

    @property
    def words(self) -> str:
        """The range in words, for errors."""
        return f"a list of {self.count}, each {self.item.words}"

    def check(self, key: str, value: Any) -> list[Any]:
        """Returns the list with its values as their range's type.

        Args:
            key: what an error calls the setting.
            value: as the configuration has it.

        Raises:
            InputError: it is no list, has another length, or a value is not in its range.
        """
        if not isinstance(value, list) or len(value) != self.count:
            raise InputError.mismatch(key, repr(value), self.words)
        return [self.item.check(f"{key}[{index}]", item) for index, item in enumerate(value)]


def check_settings(where: str, values: Any, ranges: Mapping[str, Range | ListOf]) -> dict[str, Any]:
    """Checks that a group has all its settings, no others, and each in its range.

    Args:
        where: the key of the group, for errors.
        values: the group, as the configuration has it.
        ranges: the range of each of its settings, by key.

    Returns:
        The values as the ranges' types, in the ranges' order.

    Raises:
        InputError: the first setting that is wrong.
    """
    if not isinstance(values, Mapping):
        raise InputError.mismatch(where, repr(values), f"the settings {', '.join(ranges)}")
    for key, value in values.items():
        if key not in ranges:
            keys = ", ".join(ranges) or "none"
            raise InputError(
                f"{where}.{key}",
                f"there is no such setting (its value is {value!r})",
                f"the settings of {where} are: {keys}",
            )
    for key, setting_range in ranges.items():
        if key not in values:
            raise InputError(f"{where}.{key}", "is missing", f"set it to {setting_range.words}")
    return {
        key: setting_range.check(f"{where}.{key}", values[key])
        for key, setting_range in ranges.items()
    }
