"""The one exception for bad input."""

import metrics.errors


class InputError(metrics.errors.InputError):
    """Something outside the code is wrong; the message is one line for the user.

    Args:
        where: the file or key.
        found: what is there.
        expected: what should be.
    """

    def __init__(self, where, found: str, expected: str):
        super().__init__(f"{where}: found {found}, expected {expected}")
