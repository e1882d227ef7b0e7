"""The curves of all experiments over each other, in the figures of the study."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metrics.report.colors import style
from metrics.report.figure import figure, line
from metrics.report.labels import short
from metrics.report.ranking import TITLES, UNITS
from metrics.report.series import smoothed

MARGIN = (
    "Every run by itself; runs of one variant look alike. The variants above show and hide them. "
    "Drag to zoom, double-click to return."
)
FIRST, HUNDRED = 8, 100  # steps
POINTS = 400  # of a run in a figure: a hundred of them must stay quick
UNNAMED = {"showlegend": False, "hovermode": "closest"}  # the page has one legend for all figures
SIDE_BY_SIDE = 8  # variants that half of the column has room for, beside each other


def render(summary: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame) -> tuple[str, str]:
    """summary, steps, epochs: of `metrics.experiments`."""
    return MARGIN, "".join(
        f'<h3>{TITLES[model]}</h3><div class="figures">{_model(model, runs, steps, epochs)}</div>'
        for model, runs in summary.groupby("model", sort=False)
    )


def traces(
    runs: pd.DataFrame,
    frame: pd.DataFrame,
    column: str,
    looks: dict | None = None,
    x: str = "step",
    **more,
) -> list[go.Scatter]:
    """A line for each run of one model, in the group of its variant: `column` over the column `x`;
    `looks`, if `runs` is only some of those that the page shows."""
    looks = looks or style(runs)
    labels = short(looks)
    found = []
    by_run = dict(tuple(frame.groupby(["experiment", "model"], sort=False)))
    for run in runs.itertuples():
        rows = by_run.get((run.experiment, run.model))
        if rows is None:
            continue
        trace = line(labels[run.variant], rows[x], rows[column], **looks[run.variant], **more)
        trace.update(
            legendgroup=run.variant,
            hovertemplate=f"{run.experiment}: %{{y:.5g}}<extra></extra>",
        )
        found.append(trace)
    return found


def _model(model: str, runs: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame) -> str:
    steps, epochs = (frame[frame["model"] == model] for frame in (steps, epochs))
    unit = UNITS[model]
    figures = []

    def draw(title: str, caption: str, frame: pd.DataFrame, column: str, label: str, **more):
        lines = traces(runs, frame, column, points=POINTS, **more)
        if lines:
            figures.append(_drawn(title, caption, lines, label))

    for end in (FIRST, HUNDRED):
        draw(
            f"Training loss, the first {end} steps",
            "",
            steps[steps["step"] <= end],
            "loss",
            f"loss{unit}",
        )
    draw("Training loss", "", steps, "loss", f"loss{unit}")
    draw(
        "Training loss, smoothed",
        SMOOTHED,
        _each(steps, "loss", lambda loss: smoothed(loss)[0]),
        "loss",
        f"loss{unit}",
    )
    draw("Validation loss", "", epochs, "valid_loss", f"validation loss{unit}")
    draw(
        "Validation loss, the best so far",
        "",
        epochs,
        "best_valid_loss",
        f"validation loss{unit}",
        shape="hv",
    )
    figures += _facets(runs, epochs, unit)
    figures.append(_seconds(runs, steps))
    seconds = _each(steps, "seconds", lambda taken: smoothed(taken)[0])
    draw("Time per step, smoothed", SMOOTHED, seconds, "seconds", "seconds per step (s)")
    return "".join(filter(None, figures))


def _facets(runs: pd.DataFrame, epochs: pd.DataFrame, unit: str) -> list[str]:
    """Validation losses with all but one choice held: the optimizers under each schedule, and for
    each optimizer its schedules and its clippings beside each other."""
    figures, looks = [], style(runs)

    def draw(title: str, held: list[str], varied: str):
        for values, members in runs.groupby(held, sort=False):
            lines = traces(members, epochs, "valid_loss", points=POINTS, looks=looks)
            if members[varied].nunique() > 1 and lines:
                choices = dict(zip(held, values, strict=True))
                against = " against ".join(members[varied].unique())
                name = title.format(**choices, against=against)
                figures.append(_drawn(name, "", lines, f"validation loss{unit}"))

    if runs["schedule"].nunique() > 1 or runs["clipping"].nunique() > 1:
        name = "Validation loss by optimizer: {schedule} schedule, {clipping} clipping"
        draw(name, ["schedule", "clipping"], "optimizer")
    draw("{optimizer}, {clipping} clipping: {against}", ["optimizer", "clipping"], "schedule")
    draw(
        "{optimizer}, {schedule} schedule: clipping by {against}",
        ["optimizer", "schedule"],
        "clipping",
    )
    return figures


SMOOTHED = "Exponential moving averages over a twentieth of each run."


def _each(frame: pd.DataFrame, column: str, change: Callable) -> pd.DataFrame:
    """With `column` changed, run by run."""
    if frame.empty:
        return frame
    changed = frame.groupby("experiment", sort=False)[column].transform(change)
    return frame.assign(**{column: changed})


def _drawn(title: str, caption: str, lines: list[go.Scatter], label: str) -> str:
    values = np.concatenate([np.asarray(trace.y, dtype=float) for trace in lines])
    positive = bool(values.size and (values > 0).all())
    return figure(title, caption, lines, "step", label, [], UNNAMED, log=positive)


def _seconds(runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    """The mean step time of each variant: of the first steps, which build what later ones use, and
    of all."""
    named = steps.merge(runs[["experiment", "variant"]], on="experiment")
    if named.empty:
        return ""
    named["variant"] = named["variant"].map(short(runs["variant"]))
    first = named[named["step"] <= FIRST].groupby("variant", sort=False)["seconds"].mean()
    whole = named.groupby("variant", sort=False)["seconds"].mean()
    return figure(
        "Time per step",
        f"Means over the first {FIRST} steps and over all.",
        [
            go.Bar(x=means.index, y=means, name=name, meta=color, hovertemplate="%{y:.3g} s")
            for name, means, color in (
                (f"first {FIRST} steps", first, "--raw"),
                ("all steps", whole, "--blue"),
            )
        ],
        "",
        "seconds per step (s)",
        [],
        {"barmode": "group", "xaxis": {"type": "category", "automargin": True}},
        wide=len(whole) > SIDE_BY_SIDE,
    )
