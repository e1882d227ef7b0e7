"""The section about the soundness of runs: divergence, gradient norms, clipping, learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from contract.layout import DETAILS, ENVIRONMENT, EPOCHS, SCORES, STEPS
from contract.models import MODELS
from contract.records import DIVERGED
from report import overlay
from report.colors import style
from report.curves import end_mark
from report.experiments import Experiment
from report.figure import figure, figures, line
from report.labels import short
from report.markup import (
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
from report.results import ModelResults, Workspace
from report.series import all_positive, finite_values, smoothed

MARGIN = "The gradients' global norm before clipping, and the learning rate at each step."
COMPARED = (
    "Which runs failed, diverged or lack a file; the gradients' global norms before clipping; how "
    "many steps were clipped by that norm; and the learning rate at each step."
)
# The files that a trained model should leave, by the attribute of `ModelResults`.
FILES = {
    "steps": STEPS,
    "epochs": EPOCHS,
    "aggregate": DETAILS,
    "scores": SCORES,
    "environment": ENVIRONMENT,
}


def render(workspace: Workspace) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML about one run.

    Args:
        workspace: the workspace of the run.
    """
    return MARGIN, "".join(_single(model, workspace.params) for model in workspace.models)


def _single(model: ModelResults, params: dict[str, Any]) -> str:
    head = f"<h3>{escape(model.title)}</h3>"
    if model.steps is None:
        return head + missing(model.results / STEPS, "gradient norms or learning rates")
    mark = end_mark(model)
    return head + figures(_gradient_norm(model, params, mark), _learning_rate(model, mark))


def _gradient_norm(model: ModelResults, params: dict[str, Any], mark: dict[str, Any]) -> str:
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
        [model.results / STEPS],
        mark,
        scale="log" if positive else "linear",
        log=positive,
    )


def _learning_rate(model: ModelResults, mark: dict[str, Any]) -> str:
    steps = model.steps
    rates = finite_values(steps["learning_rate"])
    ends = f"From {significant(rates[0], 3)} to {significant(rates[-1], 3)}." if rates.size else ""
    return figure(
        "Learning rate",
        ends,
        [line("learning rate", steps["step"], steps["learning_rate"], "--blue", shape="hv")],
        "step",
        "learning rate",
        [model.results / STEPS],
        mark,
        log=all_positive(steps["learning_rate"]),
    )


def compare(
    experiments: Sequence[Experiment], summary: pd.DataFrame, steps: pd.DataFrame
) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML about several experiments.

    Args:
        experiments: all of them.
        summary: as `report.experiments.summary` returns it.
        steps: as `report.experiments.curves` returns them.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    failures = "".join(
        _failure(experiment) for experiment in experiments if experiment.state == "failed"
    )
    return COMPARED, failures + "".join(
        f"<h3>{MODELS[key].title}</h3>{_model(by_name, runs, steps[steps['model'] == key])}"
        for key, runs in summary.groupby("model", sort=False)
    )


def _failure(experiment: Experiment) -> str:
    """Returns the notice about an experiment that failed, with the end of its log."""
    text = f"<strong>▲ {escape(experiment.name)} failed.</strong> It left no results."
    if not experiment.log:
        return notice(text, alert=True)
    log = listing(experiment.log, f"{experiment.name}: log")
    return notice(text, alert=True) + details("The last lines of its log", log)


def gaps(model: ModelResults) -> list[str]:
    """Returns the files that a trained model should have left and did not.

    Args:
        model: the results of the model.
    """
    if model.train is None:
        return []
    return [name for attribute, name in FILES.items() if getattr(model, attribute) is None]


def health(runs: pd.DataFrame, steps: pd.DataFrame, limits: dict[str, float]) -> pd.DataFrame:
    """Returns how the runs of one model went.

    Args:
        runs: the runs of the model, as `report.experiments.summary` returns them.
        steps: the steps of the model, as `report.experiments.curves` returns them.
        limits: the largest global norm that clipping leaves, by experiment.

    Returns:
        One row per run: `experiment, variant, status`; `steps`, how many were logged; `median_norm`
        and `largest_norm` of the gradients; `clipped`, the share of steps whose norm was above the
        limit (NaN if there is none).
    """
    norms_by_run = {
        name: rows["gradient_norm"] for name, rows in steps.groupby("experiment", sort=False)
    }
    rows = []
    for run in runs.itertuples():
        norms = norms_by_run.get(run.experiment, pd.Series(dtype=float))
        finite = norms[np.isfinite(norms)]
        limit = limits.get(run.experiment)
        clipped = np.nan if limit is None or norms.empty else float((norms > limit).mean())
        rows.append(
            {
                "experiment": run.experiment,
                "variant": run.variant,
                "status": run.status,
                "steps": len(norms),
                "median_norm": finite.median(),
                "largest_norm": finite.max(),
                "clipped": clipped,
            }
        )
    return pd.DataFrame(rows)


def _model(by_name: dict[str, Experiment], runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    """Returns the part of the section about one model.

    Args:
        by_name: the experiments.
        runs: the runs of the model.
        steps: the steps of the model's runs.
    """
    conditions = health(runs, steps, _limits(by_name))
    model = runs["model"].iloc[0]
    head = ["experiment", "variant", "status", "steps", "median norm", "largest norm", "clipped"]
    rows = [
        [
            run.experiment,
            run.variant,
            _status(run.status, gaps(getattr(by_name[run.experiment].workspace, model))),
            f"{run.steps:,}",
            significant(run.median_norm, 3),
            significant(run.largest_norm, 3),
            UNDEFINED if np.isnan(run.clipped) else f"{number(100 * run.clipped, 0)} %",
        ]
        for run in conditions.itertuples()
    ]
    parts = [
        table(head, rows, "All runs", text_columns=3, kind="items"),
        download(f"{model}_health.csv", conditions),
    ]
    if not steps.empty:
        drawn = [_norms(runs, steps)]
        lines = overlay.traces(runs, steps, "learning_rate", points=overlay.POINTS, shape="hv")
        if lines:
            drawn.append(
                figure("Learning rate", "", lines, "step", "learning rate", [], overlay.UNNAMED)
            )
        parts.append(figures(*drawn))
    return "".join(parts)


def _status(status: str, missing_files: list[str]) -> str:
    alarm = "▲ " if status in (DIVERGED, "failed") else ""
    return f"{alarm}{status}" + (f", no {', '.join(missing_files)}" if missing_files else "")


def _limits(by_name: dict[str, Experiment]) -> dict[str, float]:
    """Returns the largest global norm of each experiment that clips by it."""
    clippings = {
        name: experiment.workspace.params.get("clipping", {})
        for name, experiment in by_name.items()
    }
    return {
        name: float(clipping["max_norm"])
        for name, clipping in clippings.items()
        if clipping.get("name") == "norm"
    }


def _norms(runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    """Returns the figure of the gradient norms, a box for each variant."""
    looks = style(runs)
    labels = short(looks)
    rows = steps.merge(runs[["experiment", "variant"]], on="experiment")
    rows = rows[np.isfinite(rows["gradient_norm"]) & (rows["gradient_norm"] > 0)]
    boxes = []
    for variant, own_rows in rows.groupby("variant", sort=False):
        norms = own_rows["gradient_norm"]
        low, first, middle, third, high = np.percentile(norms, [0, 25, 50, 75, 100])
        # Five numbers are enough; the steps of a hundred runs would make the page heavy.
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
        "Global norm over all weights, before clipping: minimum, quartiles, maximum.",
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
