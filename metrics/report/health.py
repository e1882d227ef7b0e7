"""Whether the runs were sound: divergence, gradients, how often clipping acted, learning rates."""

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metrics.experiments import Experiment
from metrics.report import overlay
from metrics.report.colors import style
from metrics.report.curves import end_mark
from metrics.report.figure import figure, line
from metrics.report.labels import short
from metrics.report.markup import (
    UNDEFINED,
    details,
    download,
    listing,
    missing,
    notice,
    number,
    plural,
    significant,
    table,
)
from metrics.report.ranking import TITLES
from metrics.report.results import Model, Workspace
from metrics.report.series import all_positive, finite_values, smoothed

MARGIN = "The gradients' global norm before clipping, and the learning rate as it was."
COMPARED = (
    "Runs that failed, diverged or left something out, the gradients' global norms before "
    "clipping, how often clipping by that norm acted, and the learning rates as they were."
)
FILES = {
    "steps": "steps.csv",
    "epochs": "epochs.csv",
    "aggregate": "scores.json",
    "scores": "scores.csv",
    "environment": "environment.json",
}


def render(workspace: Workspace) -> tuple[str, str]:
    return MARGIN, "".join(_single(model, workspace.params) for model in workspace.models)


def _single(model: Model, params: dict) -> str:
    head = f"<h3>{escape(model.title)}</h3>"
    if model.steps is None:
        return head + missing(model.results / "steps.csv", "gradient norms or learning rates")
    mark = end_mark(model)
    drawn = _gradient_norm(model, params, mark) + _learning_rate(model, mark)
    return f'{head}<div class="figures">{drawn}</div>'


def _gradient_norm(model: Model, params: dict, mark: dict) -> str:
    steps = model.steps
    smooth, _ = smoothed(steps["gradient_norm"])
    traces = [
        line("each step", steps["step"], steps["gradient_norm"], "--raw", width=1),
        line("smoothed", steps["step"], smooth, "--blue", width=2.5),
    ]
    caption = "Global norm over all weights, before clipping."
    clipping = params.get("clipping") or {}
    if clipping.get("name") == "norm" and len(steps):
        limit = float(clipping["max_norm"])
        clipped = int((steps["gradient_norm"] > limit).sum())
        caption += f" Clipped to {limit:g} in {clipped:,} of {plural(len(steps), 'step')}."
        ends = steps["step"].iloc[[0, -1]]
        traces.append(line("clipped to", ends, [limit, limit], "--vermilion", dash="dash"))
    positive = all_positive(steps["gradient_norm"])
    return figure(
        "Gradient norm",
        caption,
        traces,
        "step",
        "gradient norm",
        [model.results / "steps.csv"],
        mark,
        scale="log" if positive else "linear",
        log=positive,
    )


def _learning_rate(model: Model, mark: dict) -> str:
    steps = model.steps
    rates = finite_values(steps["learning_rate"])
    ends = f"From {significant(rates[0], 3)} to {significant(rates[-1], 3)}." if rates.size else ""
    return figure(
        "Learning rate",
        ends,
        [line("learning rate", steps["step"], steps["learning_rate"], "--blue", shape="hv")],
        "step",
        "learning rate",
        [model.results / "steps.csv"],
        mark,
        log=all_positive(steps["learning_rate"]),
    )


def compare(
    experiments: Sequence[Experiment], summary: pd.DataFrame, steps: pd.DataFrame
) -> tuple[str, str]:
    """summary, steps: of `metrics.experiments`."""
    named = {each.name: each for each in experiments}
    failed = "".join(
        notice(f"<strong>▲ {escape(each.name)} failed.</strong> It left no results.", alert=True)
        + (
            details("The end of its log", listing(each.log, f"{each.name}: log"))
            if each.log
            else ""
        )
        for each in experiments
        if each.state == "failed"
    )
    return COMPARED, failed + "".join(
        f"<h3>{TITLES[model]}</h3>{_model(named, runs, steps[steps['model'] == model])}"
        for model, runs in summary.groupby("model", sort=False)
    )


def gaps(model: Model) -> list[str]:
    """Names of the files that a trained model should have left and did not."""
    return (
        [] if model.train is None else [f for at, f in FILES.items() if getattr(model, at) is None]
    )


def health(runs: pd.DataFrame, steps: pd.DataFrame, limits: dict[str, float]) -> pd.DataFrame:
    """One row per run of one model: `experiment, variant, status, steps` (that were logged),
    `median_norm, largest_norm`, and `clipped`, the share of steps whose norm was above the limit
    (NaN if there is none)."""
    norms = {name: rows["gradient_norm"] for name, rows in steps.groupby("experiment", sort=False)}
    rows = []
    for run in runs.itertuples():
        found = norms.get(run.experiment, pd.Series(dtype=float))
        finite = found[np.isfinite(found)]
        limit = limits.get(run.experiment)
        clipped = np.nan if limit is None or found.empty else float((found > limit).mean())
        rows.append(
            {
                "experiment": run.experiment,
                "variant": run.variant,
                "status": run.status,
                "steps": len(found),
                "median_norm": finite.median(),
                "largest_norm": finite.max(),
                "clipped": clipped,
            }
        )
    return pd.DataFrame(rows)


def _model(named: dict[str, Experiment], runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    found = health(runs, steps, _limits(named))
    model = runs["model"].iloc[0]
    head = ["experiment", "variant", "status", "steps", "median norm", "largest norm", "clipped"]
    rows = [
        [
            run.experiment,
            run.variant,
            _status(run.status, gaps(getattr(named[run.experiment].workspace, model))),
            f"{run.steps:,}",
            significant(run.median_norm, 3),
            significant(run.largest_norm, 3),
            UNDEFINED if np.isnan(run.clipped) else f"{number(100 * run.clipped, 0)} %",
        ]
        for run in found.itertuples()
    ]
    parts = [
        table(head, rows, "Every run", text_columns=3, kind="items"),
        download(f"{model}_health.csv", found),
    ]
    if not steps.empty:
        figures = [_norms(runs, steps)]
        lines = overlay.traces(runs, steps, "learning_rate", points=overlay.POINTS, shape="hv")
        if lines:
            figures.append(
                figure("Learning rate", "", lines, "step", "learning rate", [], overlay.UNNAMED)
            )
        parts.append(f'<div class="figures">{"".join(figures)}</div>')
    return "".join(parts)


def _status(status: str, gaps: list[str]) -> str:
    alarm = "▲ " if status in ("diverged", "failed") else ""
    return f"{alarm}{status}" + (f", no {', '.join(gaps)}" if gaps else "")


def _limits(named: dict[str, Experiment]) -> dict[str, float]:
    """The largest global norm of each experiment that clips by it."""
    clippings = {name: each.workspace.params.get("clipping", {}) for name, each in named.items()}
    return {
        name: float(clipping["max_norm"])
        for name, clipping in clippings.items()
        if clipping.get("name") == "norm"
    }


def _norms(runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    looks = style(runs)
    labels = short(looks)
    named = steps.merge(runs[["experiment", "variant"]], on="experiment")
    named = named[np.isfinite(named["gradient_norm"]) & (named["gradient_norm"] > 0)]
    boxes = []
    for variant, rows in named.groupby("variant", sort=False):
        low, first, middle, third, high = np.percentile(rows["gradient_norm"], [0, 25, 50, 75, 100])
        # Five numbers say it; a hundred runs' steps would make the page heavy.
        boxes.append(
            go.Box(
                name=labels[variant],
                x=[labels[variant]],
                q1=[first],
                median=[middle],
                q3=[third],
                lowerfence=[low],
                upperfence=[high],
                meta=looks[variant]["color"],
            )
        )
    return figure(
        "Gradient norm",
        "Global norm over all weights, before clipping: least, quartiles, largest.",
        boxes,
        "",
        "gradient norm",
        [],
        {
            "showlegend": False,
            "hovermode": "closest",
            "xaxis": {"automargin": True},
            "yaxis": {"type": "log"},
        },
        scale="log",
        wide=len(boxes) > overlay.SIDE_BY_SIDE,
    )
