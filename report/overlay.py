"""The section that draws the curves of all experiments over each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from contract.models import MODELS, Model
from report.colors import style
from report.figure import figure, figures, line
from report.labels import short
from report.series import smoothed

MARGIN = (
    "A line for each run; the runs of a variant look alike. The buttons at the top of the page "
    "show and hide variants. Drag to zoom in, double-click to zoom out."
)
SMOOTHED = "Exponential moving averages over a twentieth of each run."
FIRST, HUNDRED = 8, 100  # steps
POINTS = 400  # the most points of a run in a figure: a hundred runs must stay quick
UNNAMED = {"showlegend": False, "hovermode": "closest"}  # the page has one legend for all figures
SIDE_BY_SIDE = 8  # variants beside each other that half of the column has room for


def render(summary: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        summary: as `report.experiments.summary` returns it.
        steps: as `report.experiments.curves` returns them.
        epochs: as `report.experiments.curves` returns them.
    """
    return MARGIN, "".join(
        f"<h3>{MODELS[key].title}</h3>{figures(*_model(MODELS[key], runs, steps, epochs))}"
        for key, runs in summary.groupby("model", sort=False)
    )


def traces(
    runs: pd.DataFrame,
    frame: pd.DataFrame,
    column: str,
    looks: dict[str, dict[str, str]] | None = None,
    x: str = "step",
    **properties: Any,
) -> list[go.Scatter]:
    """Returns a line for each run of one model, in the group of its variant.

    Args:
        runs: as `report.experiments.summary` returns them.
        frame: the curves, as `report.experiments.curves` returns them.
        column: what the line shows.
        looks: as from `report.colors.style`, if `runs` are only some of those on the page.
        x: the column of the horizontal axis.
        properties: more of those of `report.figure.line`.
    """
    looks = looks or style(runs)
    labels = short(looks)
    lines = []
    by_run = dict(tuple(frame.groupby(["experiment", "model"], sort=False)))
    for run in runs.itertuples():
        rows = by_run.get((run.experiment, run.model))
        if rows is None:
            continue
        trace = line(labels[run.variant], rows[x], rows[column], **looks[run.variant], **properties)
        trace.update(
            legendgroup=run.variant,
            hovertemplate=f"{run.experiment}: %{{y:.5g}}<extra></extra>",
        )
        lines.append(trace)
    return lines


def _model(
    model: Model, runs: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame
) -> list[str]:
    """Returns the figures of one model."""
    steps, epochs = (frame[frame["model"] == model.key] for frame in (steps, epochs))
    loss, valid_loss = (model.with_loss_unit(name) for name in ("loss", "validation loss"))
    drawn = []

    def draw(
        title: str, caption: str, frame: pd.DataFrame, column: str, label: str, **properties: Any
    ) -> None:
        lines = traces(runs, frame, column, points=POINTS, **properties)
        if lines:
            drawn.append(_figure(title, caption, lines, label))

    for end in (FIRST, HUNDRED):
        draw(
            f"Training loss, the first {end} steps",
            "",
            steps[steps["step"] <= end],
            "loss",
            loss,
        )
    draw("Training loss", "", steps, "loss", loss)
    draw(
        "Training loss, smoothed",
        SMOOTHED,
        _run_by_run(steps, "loss", lambda losses: smoothed(losses)[0]),
        "loss",
        loss,
    )
    draw("Validation loss", "", epochs, "valid_loss", valid_loss)
    draw(
        "Validation loss, the best so far",
        "",
        epochs,
        "best_valid_loss",
        valid_loss,
        shape="hv",
    )
    drawn += _facets(runs, epochs, valid_loss)
    drawn.append(_seconds(runs, steps))
    seconds = _run_by_run(steps, "seconds", lambda seconds: smoothed(seconds)[0])
    draw("Time per step, smoothed", SMOOTHED, seconds, "seconds", "seconds per step (s)")
    return [part for part in drawn if part]


def _facets(runs: pd.DataFrame, epochs: pd.DataFrame, label: str) -> list[str]:
    """Returns figures of validation losses that vary one choice and hold the others.

    These are the optimizers under each schedule, and for each optimizer its schedules and its
    clippings side by side.

    Args:
        runs: the runs of one model.
        epochs: the epochs of the model's runs.
        label: the label of the vertical axes.
    """
    drawn, looks = [], style(runs)

    def draw(title: str, held: list[str], varied: str) -> None:
        for values, members in runs.groupby(held, sort=False):
            lines = traces(members, epochs, "valid_loss", points=POINTS, looks=looks)
            if members[varied].nunique() > 1 and lines:
                choices = dict(zip(held, values, strict=True))
                against = " against ".join(members[varied].unique())
                name = title.format(**choices, against=against)
                drawn.append(_figure(name, "", lines, label))

    if runs["schedule"].nunique() > 1 or runs["clipping"].nunique() > 1:
        name = "Validation loss by optimizer: {schedule} schedule, {clipping} clipping"
        draw(name, ["schedule", "clipping"], "optimizer")
    draw("{optimizer}, {clipping} clipping: {against}", ["optimizer", "clipping"], "schedule")
    draw(
        "{optimizer}, {schedule} schedule: clipping by {against}",
        ["optimizer", "schedule"],
        "clipping",
    )
    return drawn


def _run_by_run(
    frame: pd.DataFrame, column: str, change: Callable[[pd.Series], pd.Series]
) -> pd.DataFrame:
    """Returns the curves with one column changed, run by run."""
    if frame.empty:
        return frame
    changed = frame.groupby("experiment", sort=False)[column].transform(change)
    return frame.assign(**{column: changed})


def _figure(title: str, caption: str, lines: list[go.Scatter], label: str) -> str:
    values = np.concatenate([np.asarray(trace.y, dtype=float) for trace in lines])
    positive = bool(values.size and (values > 0).all())
    return figure(title, caption, lines, "step", label, [], UNNAMED, log=positive)


def _seconds(runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    """Returns the figure of the mean step time of each variant: over the first steps, which build
    what later ones use, and over all."""
    rows = steps.merge(runs[["experiment", "variant"]], on="experiment")
    if rows.empty:
        return ""
    rows["variant"] = rows["variant"].map(short(runs["variant"]))
    first = rows[rows["step"] <= FIRST].groupby("variant", sort=False)["seconds"].mean()
    overall = rows.groupby("variant", sort=False)["seconds"].mean()
    return figure(
        "Time per step",
        f"Means over the first {FIRST} steps, and over all steps.",
        [
            go.Bar(x=means.index, y=means, name=name, meta=color, hovertemplate="%{y:.3g} s")
            for name, means, color in (
                (f"first {FIRST} steps", first, "--raw"),
                ("all steps", overall, "--blue"),
            )
        ],
        "",
        "seconds per step (s)",
        [],
        {"barmode": "group", "xaxis": {"type": "category", "automargin": True}},
        wide=len(overall) > SIDE_BY_SIDE,
    )
