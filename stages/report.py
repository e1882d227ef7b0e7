"""report: one self-contained page with the curves, the scores and the sound of this run."""

from pathlib import Path

from metrics.report.page import build
from stages import outputs
from stages.params import load
from stages.run import run


def main() -> None:
    load()
    outputs.write(Path("results/report.html"), build(Path()))


if __name__ == "__main__":
    run(main)
