"""Ranges of settings."""

import pytest

from contract.errors import InputError
from contract.ranges import COUNT, PERCENTAGE, POSITIVE, POSITIVE_FRACTION, WHOLE


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_number_that_no_float_can_hold_is_in_no_range(number):
    for numbers in (POSITIVE, COUNT, WHOLE):
        assert not numbers.holds(number)
    with pytest.raises(InputError, match=r"^optimizer\.svoice\.lr: found -?10+, expected a number"):
        POSITIVE.check("optimizer.svoice.lr", number)


def test_a_large_number_that_a_float_can_hold_is_positive():
    assert POSITIVE.check("optimizer.svoice.lr", 10**300) == 1e300


@pytest.mark.parametrize(
    ("numbers", "inside", "outside"),
    [
        (POSITIVE_FRACTION, [1e-9, 0.2, 1, 1.0], [0, 0.0, -0.1, 1.001, True, "0.2"]),
        (PERCENTAGE, [0, 10, 99.5, 100], [-1e-9, 100.1, float("nan"), "10 %"]),
    ],
)
def test_the_bounds_of_fractions_and_percentages(numbers, inside, outside):
    assert all(map(numbers.holds, inside))
    assert not any(map(numbers.holds, outside))
