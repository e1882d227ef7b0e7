"""The exceptions that a user can cause, of this package and of the stages.

Meant for the user: print one as `ERROR: <message>` and exit non-zero, without a traceback.
"""

from collections.abc import Sequence


class InputError(Exception):
    """Something outside the code is wrong; the message is one line for the user.

    Args:
        where: the file or key.
        found: what is there.
        expected: what should be.
    """

    def __init__(self, where, found, expected):
        # The arguments as they are: an exception that a worker raises is made anew of them.
        super().__init__(where, found, expected)

    def __str__(self) -> str:
        where, found, expected = self.args
        return f"{where}: found {found}, expected {expected}"


class BadFilesError(InputError):
    """Several bad files: one line for each of the first ten, and how many more there are.

    Args:
        errors: at least one, in the order that they are told.
    """

    def __init__(self, errors: list[InputError]):
        Exception.__init__(self, errors)

    def __str__(self) -> str:
        (errors,) = self.args
        return "\nERROR: ".join(first_ten(errors))


def alternatives(names: Sequence[str]) -> str:
    """Names of which any will do, as in `a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def first_ten(errors: list[InputError]) -> list[str]:
    """A line for each of the first ten errors, and one that counts the rest."""
    lines = [str(error) for error in errors[:10]]
    return [*lines, f"and {len(errors) - 10} more"] if len(errors) > 10 else lines
