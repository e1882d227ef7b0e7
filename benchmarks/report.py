"""The page about many experiments: seconds to build it, its size, seconds to open and to draw it.

    .venv/pipeline/bin/python -m benchmarks.report --experiments 1 100 --steps 2000

The experiments are made up. `opened` is when the page's text can be read, `first figure` when the
first one is drawn, `all figures` when one has scrolled past them all. Beside the many stands a page
of one: what plotly itself costs. Needs Chromium.
"""

import tempfile
from pathlib import Path
from time import perf_counter

from playwright.sync_api import sync_playwright

from metrics.arguments import Parser
from metrics.report import images
from metrics.report.comparison import compare
from tests.metrics import many

DRAWN = "number => document.querySelectorAll('figure .plot')[number].layout"
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"


def measure(browser, folder, experiments, steps):
    """→ seconds to build, megabytes, seconds until opened, first figure, all figures"""
    made = many.experiments(folder, experiments, steps)
    started = perf_counter()
    html = compare(made)
    built = perf_counter() - started
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    started = perf_counter()
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN, arg=0)
    first = perf_counter() - started
    for number in range(page.locator("figure").count()):
        page.locator("figure").nth(number).scroll_into_view_if_needed()
        page.wait_for_function(DRAWN, arg=number)
    every = perf_counter() - started
    opened = page.evaluate(PAINTED)
    page.close()
    return built, len(html) / 1e6, opened, first, every


def main():
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
            found = measure(browser, Path(folder), count, options.steps)
            print(f"{count:12}" + "".join(f"{value:16.2f}" for value in found), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
