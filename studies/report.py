"""`python -m studies.report REVS… --out report.html`: a page about any of DVC's experiments."""

from __future__ import annotations

from pathlib import Path

from contract.arguments import Parser
from contract.errors import one_line
from studies.comparison import write_comparison
from studies.repository import check_repository


@one_line
def main() -> None:
    """Writes the page that the command line asks for."""
    parser = Parser(__doc__)
    parser.add_argument("revisions", nargs="+", help="experiments, commits, branches or tags")
    parser.add_argument("--baseline", help="one of them; the first if none is named")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reports/comparison.html"),
        help="the page to write; reports/comparison.html if none is named",
    )
    options = parser.parse_args()
    check_repository(Path.cwd(), temporary=False)
    write_comparison(options.revisions, options.baseline, options.out)


if __name__ == "__main__":
    main()
