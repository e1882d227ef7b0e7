"""Ranges of settings."""

import pytest

from contract.errors import InputError
from contract.ranges import COUNT, POSITIVE, WHOLE


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_number_that_no_float_can_hold_is_in_no_range(number):
    for numbers in (POSITIVE, COUNT, WHOLE):
        assert not numbers.holds(number)
    with pytest.raises(InputError, match=r"^optimizer\.svoice\.lr: found -?10+, expected a number"):
        POSITIVE.check("optimizer.svoice.lr", number)


def test_a_large_number_that_a_float_can_hold_is_positive():
    assert POSITIVE.check("optimizer.svoice.lr", 10**300) == 1e300
