"""report: one self-contained page with the curves, the scores and the sound of this run."""

from pathlib import Path

from contract import files
from contract.layout import REPORT
from contract.params import load
from report.page import build
from stages.run import run


def main() -> None:
    """Writes the page, whatever there is to be shown."""
    load()  # a bad configuration.yaml is one line, not a page
    files.write(REPORT, build(Path()))


if __name__ == "__main__":
    run(main)
