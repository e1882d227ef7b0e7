"""`python -m metrics.report REVS… --out report.html`: a page about any of DVC's experiments."""

import argparse
import sys
import tempfile
from pathlib import Path

from metrics.errors import InputError
from metrics.experiments import read
from metrics.report.comparison import compare


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m metrics.report", description=__doc__)
    parser.add_argument("revisions", nargs="+", help="experiments, commits, branches or tags")
    parser.add_argument("--baseline", help="one of them; the first if none is named")
    parser.add_argument("--out", type=Path, default=Path("comparison.html"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        experiments = read(Path(), list(dict.fromkeys(options.revisions)), Path(folder))
        page = compare(experiments, options.baseline)
    partial = options.out.with_name(f".{options.out.name}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(options.out)
    print(f"{options.out}: {len(experiments)} experiments")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"ERROR: {error}")
