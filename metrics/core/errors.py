"""Errors that the user can correct."""

from __future__ import annotations


class InputError(ValueError):
    """Something outside the code is wrong. The message is one line, `where: problem; remedy`.

    Args:
        where: the file, the folder or the argument.
        problem: what is wrong with it.
        remedy: what to do about it; empty if the problem says that already.
    """

    def __init__(self, where: object, problem: object, remedy: str = "") -> None:
        # The arguments are kept as they are, because an exception that leaves a worker process is
        # built again from them.
        super().__init__(where, problem, remedy)

    def __str__(self) -> str:
        where, problem, remedy = self.args
        message = f"{where}: {problem}; {remedy}" if remedy else f"{where}: {problem}"
        return " ".join(message.splitlines())
