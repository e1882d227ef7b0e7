"""Open a page in a browser: `python -m report.open FILE`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from contract.arguments import Parser
from contract.errors import InputError, one_line


@one_line
def main() -> None:
    """Opens the page, and prints its address in case there is no browser."""
    parser = Parser(__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the page")
    path = parser.parse_args().file
    if not path.is_file():
        raise InputError(
            path, "there is no such page", "make it with `make repro` or `make report`"
        )
    address = path.resolve().as_uri()
    print(address)
    webbrowser.open(address)


if __name__ == "__main__":
    main()
