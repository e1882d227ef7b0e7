"""DVC's page of plots about long trainings: its size, seconds to write, to open and to draw it.

    .venv/pipeline/bin/python -m benchmarks.plots --runs 2 10 --steps 200000

The trainings are made up, and their curves thinned as those of a real one. `opened` is when
something can be seen, `drawn` when all plots are. Needs Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import pandas as pd
from playwright.sync_api import Browser, sync_playwright

from benchmarks.report import PAINTED
from contract.arguments import Parser
from contract.layout import CURVES, EPOCHS, PIPELINE, SCORES
from contract.menu import SPLEETER
from contract.scores import MUSIC_SCORE_COLUMNS, SPEECH_SCORE_COLUMNS
from contract.sources import STEMS
from report import images
from report.series import thinned
from stages.summarise import CURVE_COLUMNS, MOST_POINTS
from tests.report import many
from tests.yaml_files import read_yaml, write_yaml

ROOT = Path(__file__).resolve().parents[1]
PLOTS = 10
DRAWN = f"document.querySelectorAll('main canvas, main svg').length >= {PLOTS}"


def make_repository(root: Path, runs: int, steps: int) -> None:
    """Makes a repository with a tag for each of several trainings.

    Args:
        root: its folder.
        runs: how many trainings.
        steps: the optimizer steps of each.
    """
    command(root, "git", "init", "-q")
    command(root, "git", "config", "user.email", "benchmarks@example.org")
    command(root, "git", "config", "user.name", "Benchmarks")
    command(root, "dvc", "init", "-q")
    shutil.copytree(ROOT / ".dvc/plots", root / ".dvc/plots")  # the templates of the bars
    page = Path(sys.prefix, "share", "plots.html")
    command(root, "dvc", "config", "plots.html_template", str(page))
    write_yaml(root / PIPELINE, {"plots": read_yaml(ROOT / PIPELINE)["plots"]})
    for number, experiment in enumerate(many.experiments(root, runs, steps)):
        for model in experiment.workspace.models:
            folder = root / model.results
            folder.mkdir(parents=True, exist_ok=True)
            curves = thinned(model.steps, CURVE_COLUMNS, MOST_POINTS)
            curves.to_csv(folder / CURVES, index=False)
            model.epochs.to_csv(folder / EPOCHS, index=False)
            scores(model.key, number).to_csv(folder / SCORES, index=False)
        command(root, "git", "add", "-A")
        command(root, "git", "commit", "-q", "-m", f"Run {number}")
        command(root, "git", "tag", f"run{number}")


def scores(model: str, number: int) -> pd.DataFrame:
    """Returns made-up scores of a small test set.

    Args:
        model: `spleeter` or `svoice`.
        number: of the run.
    """
    columns = MUSIC_SCORE_COLUMNS if model == SPLEETER else SPEECH_SCORE_COLUMNS
    names = STEMS if model == SPLEETER else ("s1", "s2")
    rows = [[item, name, *[number + 1.0] * (len(columns) - 2)] for item in "abc" for name in names]
    return pd.DataFrame(rows, columns=columns)


def command(root: Path, program: str, *arguments: str) -> None:
    """Runs a command to its end, which must succeed.

    Args:
        root: where it runs.
        program: `git`, or `dvc` of this environment.
        arguments: its arguments.
    """
    path = str(Path(sys.prefix, "bin", program)) if program == "dvc" else program
    subprocess.run([path, *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)


def measure(browser: Browser, root: Path, runs: int) -> tuple[float, float, float, float]:
    """Writes the page about all runs of a repository, and opens it.

    Args:
        browser: where the page is opened.
        root: the repository.
        runs: how many there are.

    Returns:
        Seconds to write it, its MB, seconds until something is seen, and until all is drawn.
    """
    started = perf_counter()
    command(root, "dvc", "plots", "diff", *(f"run{number}" for number in range(runs)))
    written = perf_counter() - started
    path = root / "dvc_plots" / "index.html"
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    started = perf_counter()
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    drawn = perf_counter() - started
    opened = page.evaluate(PAINTED)
    page.close()
    return written, path.stat().st_size / 1e6, opened, drawn


def main() -> None:
    """Prints a line for each number of runs."""
    parser = Parser(__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--steps", type=int, default=200_000)
    options = parser.parse_args()
    columns = ("written s", "MB", "opened s", "drawn s")
    print(f"{'runs':>6}" + "".join(f"{column:>12}" for column in columns))
    with sync_playwright() as driver:
        program = images.browser()
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for runs in options.runs:
            with tempfile.TemporaryDirectory() as folder:
                make_repository(Path(folder), runs, options.steps)
                values = measure(browser, Path(folder), runs)
            print(f"{runs:6}" + "".join(f"{value:12.2f}" for value in values), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
