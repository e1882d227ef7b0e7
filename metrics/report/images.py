"""`python -m metrics.report.images PAGE.html FOLDER`: a page's figures as PNG and SVG, for papers.

The page holds its figures as plotly's JSON; kaleido draws them in a Chromium of this machine, in
the page's light colours on white.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import kaleido

from metrics.arguments import Parser
from metrics.errors import InputError
from metrics.report.colors import variables

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT, SCALE = 720, 420, 3  # pixels; SCALE, of PNG: 216 dots per inch at 10 inches
MARGINS, LINE = 120, 19  # pixels, above and below a figure, and of a line of text


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("page", type=Path, help="a report")
    parser.add_argument("folder", type=Path, help="of the images; made if it is not there")
    options = parser.parse_args()
    if not options.page.is_file():
        raise InputError(options.page, "no such file", "a report")
    count = write(options.page.read_text(encoding="utf-8"), options.folder)
    print(f"{options.folder}: {count} figures, as PNG and SVG")


def browser() -> str | None:
    """The Chromium that draws: the one that BROWSER_PATH names, or one of this machine's."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)


def write(page: str, folder: Path) -> int:
    """Writes `NN-section-title.png` and `.svg` for each figure of a page. → how many there are

    Raises: `InputError` where there are figures and no Chromium.
    """
    figures = list(_figures(page))
    if not figures:
        return 0
    program = browser()
    if program is None:
        raise InputError("Chromium", "none", f"one of {', '.join(BROWSERS)}, or BROWSER_PATH")
    folder.mkdir(parents=True, exist_ok=True)
    specs = [
        {
            "fig": figure,
            "path": folder / f"{number:02}-{name}.{form}",
            "opts": {"format": form, "width": WIDTH, "height": _height(figure), "scale": scale},
        }
        for form, scale in (("png", SCALE), ("svg", 1))
        for number, (name, figure) in enumerate(figures, start=1)
    ]
    kaleido.write_fig_from_object_sync(
        specs,
        kopts={"path": program, "mathjax": False},
        cancel_on_error=True,
    )
    return len(figures)


def _figures(page: str) -> Iterator[tuple[str, dict]]:
    """A file name and plotly's figure for each figure of the page."""
    reader = _Reader()
    reader.feed(page)
    colors = variables(page[page.index("<style>") : page.index("</style>")])
    for section, part, title, scale, spec in reader.found:
        name = "-".join(re.findall(r"[a-z0-9]+", f"{section} {part} {title}".lower()))
        yield name, _colored(spec, scale, colors, f"{part}: {title}" if part else title)


class _Reader(HTMLParser):
    """Finds the figures: the section and its part that each is in, title, scale, data."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.section, self.part, self.scale, self.title = "", "", "linear", ""
        self.inside = None

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "section":
            self.section, self.part = attributes.get("id", ""), ""
        elif tag == "figure":
            self.scale, self.title = attributes.get("data-scale", "linear"), ""
        elif tag == "h3":
            self.part, self.inside = "", tag
        elif tag == "strong" or (tag, attributes.get("type")) == ("script", "application/json"):
            self.inside = tag

    def handle_endtag(self, tag):
        if tag == self.inside:
            self.inside = None

    def handle_data(self, data):
        if self.inside == "h3":
            self.part += data
        elif self.inside == "strong":
            self.title += data
        elif self.inside == "script":
            figure = (self.section, self.part, self.title, self.scale, json.loads(data))
            self.found.append(figure)


def _height(figure: dict) -> int:
    """Room for the title and the axis, and for each label that stands below another one: those of
    the legend, or of an axis."""
    named = sum(trace.get("showlegend", False) for trace in figure["data"])
    ticks = figure["layout"]["yaxis"].get("ticktext", [])
    lines = sum(1 + label.count("<br>") for label in ticks)
    return max(HEIGHT, MARGINS + LINE * max(named, lines))


def _colored(spec: dict, scale: str, colors: dict[str, str], title: str) -> dict:
    """The figure with its colours in place of their names, as page.js draws it."""
    for trace in spec["data"]:
        color = colors[trace["meta"]]
        trace["line"] = {**trace.get("line", {}), "color": color}
        if trace["type"] != "scatter" or "markers" in trace.get("mode", ""):
            trace["marker"] = {**trace.get("marker", {}), "color": color}
    layout = spec["layout"]
    for shape in layout.get("shapes", []):
        shape["line"]["color"] = colors[shape["name"]]
    for label in layout.get("annotations", []):
        label["font"] = {"color": colors[label["name"]]}
    axis = {"gridcolor": colors["--rule"], "linecolor": colors["--strong-rule"]}
    layout["xaxis"] = {**layout.get("xaxis", {}), **axis}
    layout["yaxis"] = {"type": scale, **layout.get("yaxis", {}), **axis}
    if scale == "log" and "meta" in layout:
        layout["yaxis"]["dtick"] = layout["meta"]
    # On paper no legend of the whole page is at hand: each line's variant is named once.
    lines = all("lines" in trace.get("mode", "") for trace in spec["data"])
    if lines and layout.get("showlegend") is False:
        named = set()
        for trace in spec["data"]:
            trace["showlegend"] = trace.get("legendgroup") not in named
            named.add(trace.get("legendgroup"))
        layout["showlegend"] = len(named) > 1
    layout |= {
        "title": {"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"family": "Arial, Helvetica, sans-serif", "size": 12, "color": colors["--text"]},
        "margin": {"l": 70, "r": 20, "t": 60, "b": 50},
        "legend": {"x": 1.02, "y": 1, "xanchor": "left", "yanchor": "top", "tracegroupgap": 0},
    }
    return spec


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"ERROR: {error}")
