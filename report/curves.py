"""The section about the training of one run: losses and time over the steps."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from contract.layout import EPOCHS, STEPS
from report.figure import figure, figures, line, vertical_mark
from report.markup import missing, plural, significant
from report.results import ModelResults, Workspace
from report.series import all_positive, finite_values, smoothed

MARGIN = (
    "Each quantity over the optimizer steps. Drag to zoom in, double-click to zoom out; click an "
    "entry of a legend to hide its line."
)
MARKED = 60  # validations of a curve, at most, that are shown as points too


def render(workspace: Workspace) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        workspace: the workspace of the run.
    """
    return MARGIN, "".join(_model(model) for model in workspace.models)


def _model(model: ModelResults) -> str:
    notices = []
    if model.steps is None:
        notices.append(missing(model.results / STEPS, "curves over the steps"))
    if model.epochs is None:
        notices.append(missing(model.results / EPOCHS, "validation curve"))
    drawn = []
    mark = end_mark(model)
    if model.steps is not None:
        drawn.append(_loss(model, mark))
    if model.epochs is not None:
        drawn.append(_validation(model, mark))
    if model.steps is not None:
        drawn.append(_seconds(model, mark))
    body = "".join(notices) + (figures(*drawn) if drawn else "")
    return f"<h3>{escape(model.title)}</h3>{body}"


def end_mark(model: ModelResults) -> dict[str, Any]:
    """Returns the layout that marks where a run diverged; empty if it did not.

    Args:
        model: the results of the model.
    """
    if model.steps is None or not model.diverged or model.steps.empty:
        return {}
    return vertical_mark(float(model.steps["step"].iloc[-1]), "diverged", "--alert")


def _loss(model: ModelResults, mark: dict[str, Any]) -> str:
    steps = model.steps
    smooth, span = smoothed(steps["loss"])
    finite = finite_values(steps["loss"])
    ends = f"From {significant(finite[0])} to {significant(finite[-1])}. " if finite.size else ""
    return figure(
        "Training loss",
        f"{model.loss}. {ends}Smoothed: exponential moving average over {span:,} steps.",
        [
            line("each step", steps["step"], steps["loss"], "--raw", width=1),
            line("smoothed", steps["step"], smooth, "--blue", width=2.5),
        ],
        "step",
        model.with_loss_unit("loss"),
        [model.results / STEPS],
        mark,
        log=all_positive(steps["loss"]),
        wide=True,
    )


def _validation(model: ModelResults, mark: dict[str, Any]) -> str:
    epochs = model.epochs
    best = finite_values(epochs["best_valid_loss"])
    reached = f", the best {significant(best[-1])}" if best.size else ""
    mode = "lines+markers" if len(epochs) <= MARKED else "lines"
    return figure(
        "Validation loss",
        f"{plural(len(epochs), 'validation')}{reached}.",
        [
            line("validation", epochs["step"], epochs["valid_loss"], "--vermilion", mode=mode),
            line(
                "best so far",
                epochs["step"],
                epochs["best_valid_loss"],
                "--green",
                shape="hv",
                dash="dot",
            ),
        ],
        "step",
        model.with_loss_unit("validation loss"),
        [model.results / EPOCHS],
        mark,
        log=all_positive(epochs["valid_loss"]),
    )


def _seconds(model: ModelResults, mark: dict[str, Any]) -> str:
    steps = model.steps
    smooth, _ = smoothed(steps["seconds"])
    seconds = finite_values(steps["seconds"])
    positive = all_positive(steps["seconds"])
    caption = ""
    spiky = False
    if seconds.size:
        median = float(np.median(seconds))
        caption = f"Median {significant(median, 3)} s, longest {significant(seconds.max(), 3)} s."
        spiky = seconds.max() > 5 * median  # such as a first step that builds the graph
    return figure(
        "Time per step",
        caption,
        [
            line("each step", steps["step"], steps["seconds"], "--raw", width=1),
            line("smoothed", steps["step"], smooth, "--blue", width=2.5),
        ],
        "step",
        "seconds per step (s)",
        [model.results / STEPS],
        mark,
        scale="log" if spiky and positive else "linear",
        log=positive,
    )
