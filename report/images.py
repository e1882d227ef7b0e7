"""`python -m report.images PAGE.html FOLDER`: writes a page's figures as PNG and SVG, for papers.

The page holds its figures as plotly's JSON; kaleido draws them in a Chromium of this machine, in
the page's light colours on white.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import kaleido

from contract.arguments import Parser
from contract.errors import InputError, alternatives, one_line
from report.colors import variables

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 720, 420  # pixels
SCALE = 3  # pixels of a PNG per pixel of the page: 216 dots per inch at a width of 10 inches
MARGINS = 120  # pixels above and below a figure, together
LINE = 19  # pixels: the height of a line of text

Figure = dict[str, Any]  # plotly's: `data` and `layout`


@one_line
def main() -> None:
    """Writes the figures of the page that the command line names."""
    parser = Parser(__doc__)
    parser.add_argument("page", type=Path, help="a report")
    parser.add_argument("folder", type=Path, help="where the images go; made if it is missing")
    options = parser.parse_args()
    if not options.page.is_file():
        raise InputError(options.page, "there is no such file", "name a report")
    count = write(options.page.read_text(encoding="utf-8"), options.folder)
    print(f"{options.folder}: {count} figures, as PNG and SVG")


def browser() -> str | None:
    """Returns the Chromium that draws: BROWSER_PATH, or one of this machine's; None without
    one."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)


def require_browser() -> str:
    """Returns the Chromium that draws, as `browser` does.

    Raises:
        InputError: there is none.
    """
    if program := browser():
        return program
    remedy = f"install {alternatives(BROWSERS)}, or set BROWSER_PATH"
    raise InputError("Chromium", "is not installed", remedy)


def write(page: str, folder: Path) -> int:
    """Writes `NN-section-title.png` and `.svg` for each figure of a page.

    Args:
        page: its HTML.
        folder: where the images go; made if it is missing.

    Returns:
        How many figures there are.

    Raises:
        InputError: there are figures, but no Chromium.
    """
    figures = list(_figures(page))
    if not figures:
        return 0
    program = require_browser()
    folder.mkdir(parents=True, exist_ok=True)
    specs = [
        {
            "fig": figure,
            "path": folder / f"{number:02}-{name}.{extension}",
            "opts": {
                "format": extension,
                "width": WIDTH,
                "height": _height(figure),
                "scale": scale,
            },
        }
        for extension, scale in (("png", SCALE), ("svg", 1))
        for number, (name, figure) in enumerate(figures, start=1)
    ]
    kaleido.write_fig_from_object_sync(
        specs,
        kopts={"path": program, "mathjax": False},
        cancel_on_error=True,
    )
    return len(figures)


class _PageFigure(NamedTuple):
    """A figure as the page has it."""

    section: str  # the anchor of its section
    part: str  # the heading of its part of the section
    title: str
    scale: str  # how the vertical axis is divided: `linear` or `log`
    spec: Figure


def _figures(page: str) -> Iterator[tuple[str, Figure]]:
    """Yields a file name and the coloured figure for each figure of a page."""
    reader = _Reader()
    reader.feed(page)
    colors = variables(page[page.index("<style>") : page.index("</style>")])
    for section, part, title, scale, spec in reader.figures:
        name = "-".join(re.findall(r"[a-z0-9]+", f"{section} {part} {title}".lower()))
        yield name, _colored(spec, scale, colors, f"{part}: {title}" if part else title)


class _Reader(HTMLParser):
    """Finds the figures of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.figures: list[_PageFigure] = []
        self._section, self._part, self._scale, self._title = "", "", "linear", ""
        self._inside: str | None = None  # the tag whose text is read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "section":
            self._section, self._part = attributes.get("id", ""), ""
        elif tag == "figure":
            self._scale, self._title = attributes.get("data-scale", "linear"), ""
        elif tag == "h3":
            self._part, self._inside = "", tag
        elif tag == "strong" or (tag, attributes.get("type")) == ("script", "application/json"):
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "h3":
            self._part += data
        elif self._inside == "strong":
            self._title += data
        elif self._inside == "script":
            spec = json.loads(data)
            self.figures.append(
                _PageFigure(self._section, self._part, self._title, self._scale, spec)
            )


def _height(figure: Figure) -> int:
    """Returns the height (pixels) that has room for the title, the axis, and the labels that stand
    one below the other: those of the legend, or of the vertical axis."""
    named = sum(trace.get("showlegend", False) for trace in figure["data"])
    ticks = figure["layout"]["yaxis"].get("ticktext", [])
    lines = sum(1 + label.count("<br>") for label in ticks)
    return max(HEIGHT, MARGINS + LINE * max(named, lines))


def _colored(spec: Figure, scale: str, colors: dict[str, str], title: str) -> Figure:
    """Returns a figure with colours in place of their names, as page.js draws it.

    Args:
        spec: the figure; it is changed.
        scale: how the vertical axis is divided: `linear` or `log`.
        colors: by name.
        title: what stands above the figure.
    """
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
    # On paper there is no legend of the whole page: the figure's own names each variant once, if
    # its vertical axis does not.
    points = all(trace["type"] == "scatter" for trace in spec["data"])
    if points and "ticktext" not in layout["yaxis"] and layout.get("showlegend") is False:
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
    main()
