"""What a setting's value may be, checked with one clear line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract.errors import InputError

LARGEST = 2**31 - 1  # what every library takes as a number, a seed, or a size


@dataclass(frozen=True)
class Range:
    """The values that a setting may have.

    Attributes:
        type: `int`, `float` (whole numbers are fine, too), `bool` or `str`.
        words: the same in words, as an error has it.
        least, most: the bounds of a number.
        open: which of the bounds do not belong to the range: a text of `<` and `>`.
        choices: the texts that are allowed; none for any text.
        multiple: what a whole number is a multiple of.
    """

    type: type
    words: str
    least: float = -math.inf
    most: float = math.inf
    open: str = ""
    choices: tuple[str, ...] = ()
    multiple: int = 1

    def holds(self, value: Any) -> bool:
        """Whether the value is of the type and within the bounds."""
        if type(value) not in ((int, float) if self.type is float else (self.type,)):
            return False
        if self.type is str:
            return bool(value) and (not self.choices or value in self.choices)
        return (
            math.isfinite(value)
            and (self.least < value if "<" in self.open else self.least <= value)
            and (value < self.most if ">" in self.open else value <= self.most)
            and not (self.type is int and value % self.multiple)
        )

    def check(self, key: str, value: Any) -> Any:
        """Returns the value as the range's type.

        Args:
            key: what an error calls the setting.

        Raises:
            InputError: the range does not hold the value.
        """
        if not self.holds(value):
            raise InputError.mismatch(key, repr(value), self.words)
        return self.type(value)


POSITIVE = Range(float, "a number above 0", least=0, open="<")
NOT_NEGATIVE = Range(float, "a number from 0", least=0)
FRACTION = Range(float, "a number from 0 up to but not 1", least=0, most=1, open=">")
FACTOR = Range(float, "a number between 0 and 1", least=0, most=1, open="<>")
COUNT = Range(int, f"a whole number from 1 to {LARGEST}", least=1, most=LARGEST)
WHOLE = Range(int, f"a whole number from 0 to {LARGEST}", least=0, most=LARGEST)
FLAG = Range(bool, "true or false")


def multiple_of(number: int) -> Range:
    """The range of the whole numbers that are multiples of `number`."""
    words = f"a multiple of {number}, at most {LARGEST}"
    return Range(int, words, least=number, most=LARGEST, multiple=number)


def between(least: int, most: int) -> Range:
    """The range of the whole numbers from `least` to `most`."""
    return Range(int, f"a whole number from {least} to {most}", least=least, most=most)


def one_of(*choices: str) -> Range:
    """The range of a text that is one of `choices`."""
    return Range(str, f"one of {', '.join(choices)}", choices=choices)


@dataclass(frozen=True)
class ListOf:
    """A list of `count` values, each within the range `each`."""

    each: Range
    count: int

    @property
    def words(self) -> str:
        return f"a list of {self.count}, each {self.each.words}"

    def check(self, key: str, value: Any) -> list[Any]:
        """Returns the list. Raises `InputError` as `Range.check` does."""
        if not isinstance(value, list) or len(value) != self.count:
            raise InputError.mismatch(key, repr(value), self.words)
        return [self.each.check(f"{key}[{place}]", item) for place, item in enumerate(value)]


def check_settings(where: str, values: Any, ranges: Mapping[str, Range | ListOf]) -> dict[str, Any]:
    """Checks a group of settings: all are there, there are no others, and each is in its range.

    Args:
        where: the key of the group, which errors name.
        values: the group, as a configuration has it.
        ranges: what each of its settings may be.

    Returns:
        The values as the ranges' types, in the ranges' order.

    Raises:
        InputError: the first setting that is wrong.
    """
    if not isinstance(values, Mapping):
        raise InputError.mismatch(where, repr(values), f"the settings {', '.join(ranges)}")
    for key, value in values.items():
        if key not in ranges:
            known = ", ".join(ranges) or "none"
            raise InputError(
                f"{where}.{key}",
                f"there is no such setting (its value is {value!r})",
                f"the settings of {where} are: {known}",
            )
    for key, allowed in ranges.items():
        if key not in values:
            raise InputError(f"{where}.{key}", "is missing", f"set it to {allowed.words}")
    return {key: allowed.check(f"{where}.{key}", values[key]) for key, allowed in ranges.items()}
