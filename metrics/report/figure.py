"""Figures: plotly traces as JSON inside the page, drawn by page.js in the page's colours.

Colours are names of the style sheet's variables, in `meta` of a trace and `name` of a mark.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from metrics.report.markup import source

POINTS = 4000  # at most, of one line: more than any screen shows


def line(
    name: str, x, y, color: str, width: float = 2, points: int = POINTS, **style
) -> go.Scatter:
    """A line through the finite points, thinned to what a screen can show."""
    x, y = thin(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), points)
    return go.Scatter(
        name=name,
        x=x,
        y=y,
        meta=color,
        mode=style.pop("mode", "lines"),
        line={"width": width, **style},
        hovertemplate="%{y:.5g}",
    )


def thin(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `points` of a line: of each of equal stretches, the lowest and the highest point,
    so that no spike is lost. Non-finite points are left out."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if x.size <= points:
        return x, y
    stretches = np.array_split(np.arange(x.size), points // 2)
    extremes = [(part[np.argmin(y[part])], part[np.argmax(y[part])]) for part in stretches]
    keep = np.unique(np.concatenate(extremes))
    return x[keep], y[keep]


def figure(
    title: str,
    caption: str,
    traces: Sequence[go.Scatter | go.Box | go.Histogram],
    x_label: str,
    y_label: str,
    paths: Sequence,
    layout: dict | None = None,
    scale: str = "linear",
    log: bool = False,
    wide: bool = False,
    rows: int = 0,
) -> str:
    """A `<figure>` with its caption, its data, and where the data come from. Lines without a legend
    carry their names at their ends.

    log: offer a logarithmic vertical axis beside the linear one; `scale` is the one shown first.
    rows: how many labels the figure must have room for, one below the other.
    """
    drawing = go.Figure(
        traces,
        {
            "template": "none",
            "margin": {"l": 64, "r": 12, "t": 34, "b": 46},
            "hovermode": "x unified",
            "showlegend": len(traces) > 1,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "xaxis": {"title": {"text": x_label, "standoff": 8}, "showline": True, "ticks": ""},
            "yaxis": {
                "title": {"text": y_label, "standoff": 8},
                "automargin": True,
                "tickformat": "~g",
            },
            **(layout or {}),
        },
    )
    if drawing.layout.showlegend is False and all(trace.type == "scatter" for trace in traces):
        rows = max(rows, len({trace.legendgroup or trace.name for trace in traces}))
    choice = ""
    if log:
        drawing.layout.meta = _log_tick(np.concatenate([trace.y for trace in traces]))
        buttons = "".join(
            f'<button type="button" value="{value}" aria-pressed="{str(value == scale).lower()}">'
            f"{value}</button>"
            for value in ("linear", "log")
        )
        choice = (
            f'<div class="scale" role="group" aria-label="{escape(title)}: vertical axis">'
            f"{buttons}</div>"
        )
    # `<` never appears as itself inside a script element, whatever a track is called.
    data = drawing.to_json().replace("<", "\\u003c")
    return (
        f'<figure data-scale="{scale}"{" class=wide" if wide else ""}>'
        f'<figcaption><div class="text"><strong>{escape(title)}</strong>{escape(caption)}</div>'
        f"{choice}</figcaption>"
        f'<div class="plot" style="--rows: {rows}" role="img" '
        f'aria-label="{escape(f"{title}. {caption}")}"></div>'
        f'<script type="application/json">{data}</script>{source(*paths)}</figure>'
    )


def _log_tick(values: np.ndarray) -> str | float:
    """Spacing of the ticks of a logarithmic axis, in plotly's terms: 1, 2, 5 of each decade, or
    whole decades where there are many."""
    decades = np.log10(values.max() / values.min())
    if decades < 0.5:
        return "D1"
    return "D2" if decades < 2.5 else float(np.ceil(decades / 6))


def vertical_mark(x: float, text: str, color: str) -> dict:
    """Layout of a dashed vertical line with a label above it."""
    return {
        "shapes": [
            {
                "type": "line",
                "name": color,
                "x0": x,
                "x1": x,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"dash": "dash", "width": 2},
            }
        ],
        "annotations": [
            {
                "name": color,
                "x": x,
                "y": 1,
                "yref": "paper",
                "text": text,
                "showarrow": False,
                "xanchor": "right",
                "yanchor": "bottom",
            }
        ],
    }
