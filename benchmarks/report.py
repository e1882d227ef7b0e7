"""The page about many experiments: seconds to build it, its size, seconds to open and to draw it.

    .venv/pipeline/bin/python -m benchmarks.report --experiments 1 100 --steps 2000

The experiments are made up. `opened` is when the page's text can be read, `first figure` when the
first figure is drawn, `all figures` when a reader has scrolled past all of them. A page about one
experiment shows what plotly itself costs. Needs Chromium.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from playwright.sync_api import Browser, sync_playwright

from contract.arguments import Parser
from report import images
from report.comparison import compare
from tests.report import many

DRAWN = "number => document.querySelectorAll('figure .plot')[number].layout"
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"


class Measurement(NamedTuple):
    """What a page costs, in the order of the table's columns."""

    built: float  # s
    size: float  # MB
    opened: float  # s
    first_figure: float  # s
    all_figures: float  # s


def measure(browser: Browser, folder: Path, experiments: int, steps: int) -> Measurement:
    """Builds a page, opens it, and scrolls past all its figures.

    Args:
        browser: where the page is opened.
        folder: where it is written.
        experiments: how many the page is about.
        steps: how many each experiment has.
    """
    made_up = many.experiments(folder, experiments, steps)
    started = perf_counter()
    html = compare(made_up)
    built = perf_counter() - started
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    started = perf_counter()
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN, arg=0)
    first_figure = perf_counter() - started
    for number in range(page.locator("figure").count()):
        page.locator("figure").nth(number).scroll_into_view_if_needed()
        page.wait_for_function(DRAWN, arg=number)
    all_figures = perf_counter() - started
    opened = page.evaluate(PAINTED)
    page.close()
    return Measurement(built, len(html) / 1e6, opened, first_figure, all_figures)


def main() -> None:
    """Prints a line for each number of experiments."""
    parser = Parser(__doc__)
    parser.add_argument("--experiments", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    columns = ("built s", "MB", "opened s", "first figure s", "all figures s")
    print(f"{'experiments':>12}" + "".join(f"{column:>16}" for column in columns))
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        program = images.browser()
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for count in options.experiments:
            measurement = measure(browser, Path(folder), count, options.steps)
            print(f"{count:12}" + "".join(f"{value:16.2f}" for value in measurement), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
