"""How training went: losses and time over the steps."""

from html import escape

import numpy as np

from metrics.report.figure import figure, line, vertical_mark
from metrics.report.markup import missing, plural, significant
from metrics.report.results import Model, Workspace
from metrics.report.series import all_positive, finite_values, smoothed

MARGIN = (
    "Each quantity over the optimizer steps. Drag to zoom, double-click to return; "
    "click a legend's entry to hide its line."
)


def render(workspace: Workspace) -> tuple[str, str]:
    return MARGIN, "".join(_model(model) for model in workspace.models)


def _model(model: Model) -> str:
    parts = []
    if model.steps is None:
        parts.append(missing(model.results / "steps.csv", "curves over the steps"))
    if model.epochs is None:
        parts.append(missing(model.results / "epochs.csv", "validation curve"))
    figures = []
    mark = end_mark(model)
    if model.steps is not None:
        figures.append(_loss(model, mark))
    if model.epochs is not None:
        figures.append(_validation(model, mark))
    if model.steps is not None:
        figures.append(_seconds(model, mark))
    body = "".join(parts) + (f'<div class="figures">{"".join(figures)}</div>' if figures else "")
    return f"<h3>{escape(model.title)}</h3>{body}"


def end_mark(model: Model) -> dict:
    """Layout that marks where a run diverged; empty for others."""
    if model.steps is None or not model.diverged or model.steps.empty:
        return {}
    return vertical_mark(float(model.steps["step"].iloc[-1]), "diverged", "--alert")


def _loss(model: Model, mark: dict) -> str:
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
        _label("loss", model),
        [model.results / "steps.csv"],
        mark,
        log=all_positive(steps["loss"]),
        wide=True,
    )


def _validation(model: Model, mark: dict) -> str:
    epochs = model.epochs
    best = finite_values(epochs["best_valid_loss"])
    reached = f", the best {significant(best[-1])}" if best.size else ""
    mode = "lines+markers" if len(epochs) <= 60 else "lines"
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
        _label("validation loss", model),
        [model.results / "epochs.csv"],
        mark,
        log=all_positive(epochs["valid_loss"]),
    )


def _seconds(model: Model, mark: dict) -> str:
    steps = model.steps
    smooth, _ = smoothed(steps["seconds"])
    seconds = finite_values(steps["seconds"])
    positive = all_positive(steps["seconds"])
    caption = ""
    spiky = False
    if seconds.size:
        middle = float(np.median(seconds))
        caption = f"Median {significant(middle, 3)} s, longest {significant(seconds.max(), 3)} s."
        spiky = seconds.max() > 5 * middle  # a first step that builds the graph, say
    return figure(
        "Time per step",
        caption,
        [
            line("each step", steps["step"], steps["seconds"], "--raw", width=1),
            line("smoothed", steps["step"], smooth, "--blue", width=2.5),
        ],
        "step",
        "seconds per step (s)",
        [model.results / "steps.csv"],
        mark,
        scale="log" if spiky and positive else "linear",
        log=positive,
    )


def _label(name: str, model: Model) -> str:
    return f"{name} ({model.loss_unit})" if model.loss_unit else name
