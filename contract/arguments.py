"""Command lines: `--help` prints what a module does, and an unknown argument is one clear line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """The command line of the module that runs.

    Wrong arguments end the process with one line on stderr and exit code 2.

    Args:
        description: the module's docstring, which `--help` prints.
    """

    def __init__(self, description: str | None) -> None:
        super().__init__(
            prog=_program(),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def add_params(self) -> None:
        """Adds the required option --params, a path."""
        self.add_argument(
            "--params",
            required=True,
            type=Path,
            metavar="FILE",
            help="the composed configuration.yaml",
        )

    def add_scratch(self) -> None:
        """Adds the required option --scratch, a path."""
        self.add_argument(
            "--scratch",
            required=True,
            type=Path,
            metavar="DIR",
            help="the folder of the unfinished training, from which an interrupted one resumes",
        )

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parses the arguments, by default those of `sys.argv`, as `argparse` does.

        Args:
            args: the arguments.
            namespace: the object that receives their values; a new one if None.
        """
        args = sys.argv[1:] if args is None else list(args)
        # argparse would name the arguments that are missing before those that it does not know.
        for argument in takewhile(lambda argument: argument != "--", args):
            option = argument.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(f"unrecognized arguments: {argument}")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the process with `message` in one line on stderr, and exit code 2."""
        self.exit(2, f"ERROR: {self.prog}: {message}; --help lists the options\n")


def _program() -> str:
    """Returns the command as the user types it, such as `python -m studies.report`."""
    spec = sys.modules["__main__"].__spec__
    if spec is None:  # a script
        return Path(sys.argv[0]).name
    return f"python -m {spec.name.removesuffix('.__main__')}"
