"""`python -m metrics.report REVS… --out report.html`: a page about any of DVC's experiments."""

import sys
from pathlib import Path

from metrics.arguments import Parser
from metrics.errors import InputError
from metrics.report.files import write_comparison
from metrics.repository import check_repository


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("revisions", nargs="+", help="experiments, commits, branches or tags")
    parser.add_argument("--baseline", help="one of them; the first if none is named")
    parser.add_argument("--out", type=Path, default=Path("comparison.html"))
    options = parser.parse_args()
    check_repository(Path.cwd(), temporary=False)
    write_comparison(options.revisions, options.baseline, options.out)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"ERROR: {error}")
