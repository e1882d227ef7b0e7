"""Figures: plotly's traces as JSON inside the page, drawn by page.js in the page's colours.

A colour is the name of a variable of the style sheet. It is in `meta` of a trace and in `name` of a
shape or an annotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType

from report.markup import source
from report.series import extremes

POINTS = 4000  # the most points of a line: more than any screen shows

Values = Sequence[float] | np.ndarray | pd.Series


def line(
    name: str,
    x: Values,
    y: Values,
    color: str,
    width: float = 2,
    points: int = POINTS,
    mode: str = "lines",
    **style: Any,
) -> go.Scatter:
    """Returns a line through the finite points, thinned to what a screen can show.

    Args:
        name: its name in the legend.
        x: `(points,)`.
        y: `(points,)`.
        color: the name of a variable of the style sheet.
        width: its width in pixels.
        points: how many the line may have.
        mode: plotly's `mode` of the line, such as `lines+markers`.
        style: more properties of the line for plotly, such as `dash`.
    """
    x, y = thin(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), points)
    return go.Scatter(
        name=name,
        x=x,
        y=y,
        meta=color,
        mode=mode,
        line={"width": width, **style},
        hovertemplate="%{y:.5g}",
    )


def thin(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Thins a line: of each of equal stretches, it keeps the lowest and the highest point.

    So no spike is lost. Non-finite points are left out.

    Args:
        x: `(samples,)`.
        y: `(samples,)`.
        points: how many are left at most.

    Returns:
        x and y, `(points,)` each.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    keep = extremes(y, points)
    return x[keep], y[keep]


def figure(
    title: str,
    caption: str,
    traces: Sequence[BaseTraceType],
    x_label: str,
    y_label: str,
    paths: Sequence[Path],
    layout: dict[str, Any] | None = None,
    scale: str = "linear",
    log: bool = False,
    wide: bool = False,
    rows: int = 0,
) -> str:
    """Returns a `<figure>` with its caption, its data, and the files that these come from.

    Where there is no legend, page.js writes the name of each line at its end.

    Args:
        title: the first words of the caption.
        caption: the others.
        traces: what is drawn, as plotly's traces.
        x_label: the label of the horizontal axis.
        y_label: the label of the vertical axis.
        paths: the files.
        layout: more settings of plotly's layout.
        scale: how the vertical axis is divided at first, `linear` or `log`.
        log: whether the reader can choose between the two.
        wide: whether the figure fills the column.
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
        drawing.layout.meta = log_tick(np.concatenate([trace.y for trace in traces]))
        choice = _scale_buttons(title, scale)
    # A script element must not hold a `<`, which names such as a track's may.
    data = drawing.to_json().replace("<", "\\u003c")
    return (
        f'<figure data-scale="{scale}"{" class=wide" if wide else ""}>'
        f'<figcaption><div class="text"><strong>{escape(title)}</strong>{escape(caption)}</div>'
        f"{choice}</figcaption>"
        f'<div class="plot" style="--rows: {rows}" role="img" '
        f'aria-label="{escape(f"{title}. {caption}")}"></div>'
        f'<script type="application/json">{data}</script>{source(*paths)}</figure>'
    )


def _scale_buttons(title: str, scale: str) -> str:
    """Returns the buttons by which the reader chooses how the vertical axis is divided.

    Args:
        title: the title of the figure.
        scale: the choice at first, `linear` or `log`.
    """
    buttons = "".join(
        f'<button type="button" value="{value}" aria-pressed="{str(value == scale).lower()}">'
        f"{value}</button>"
        for value in ("linear", "log")
    )
    return (
        f'<div class="scale" role="group" aria-label="{escape(title)}: vertical axis">'
        f"{buttons}</div>"
    )


def figures(*parts: str) -> str:
    """Returns figures side by side, where there is room for it."""
    return f'<div class="figures">{"".join(parts)}</div>'


def log_tick(values: np.ndarray) -> str | float:
    """Returns plotly's spacing of the ticks of a logarithmic axis.

    It is every digit of a decade, or 1, 2 and 5, or whole decades, by how many decades the values
    span.

    Args:
        values: what the axis shows, above 0, `(points,)`.
    """
    decades = np.log10(values.max() / values.min())
    if decades < 0.5:
        return "D1"
    return "D2" if decades < 2.5 else float(np.ceil(decades / 6))


def vertical_mark(x: float, text: str, color: str) -> dict[str, Any]:
    """Returns the layout of a dashed vertical line with a label above it.

    Args:
        x: where the line is.
        text: the label.
        color: the name of a variable of the style sheet.
    """
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
