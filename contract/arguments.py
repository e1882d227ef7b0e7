"""Command lines: `--help` tells what a module does, and an argument that it does not know ends it
with one clear line."""

import argparse
import sys
from itertools import takewhile
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """The command line of the module that runs.

    Args:
        description: the module's docstring.
    """

    def __init__(self, description: str | None):
        super().__init__(
            prog=_program(),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        args = sys.argv[1:] if args is None else list(args)
        # argparse names what is missing first, and what it does not know only after that.
        for argument in takewhile(lambda argument: argument != "--", args):
            option = argument.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(f"unrecognized arguments: {argument}")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ERROR: {self.prog}: {message}; --help tells what it takes\n")


def _program() -> str:
    """What was typed: `python -m studies.report`."""
    spec = sys.modules["__main__"].__spec__
    if spec is None:  # a script
        return Path(sys.argv[0]).name
    return f"python -m {spec.name.removesuffix('.__main__')}"
