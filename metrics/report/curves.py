"""How training went: every quantity of steps.csv and epochs.csv over the steps."""

from html import escape

import numpy as np
import pandas as pd

from metrics.report.figure import figure, line, vertical_mark
from metrics.report.markup import missing, plural, significant
from metrics.report.results import Model, Workspace

MARGIN = (
    "Each quantity over the optimizer steps. Drag to zoom, double-click to return; "
    "click a legend's entry to hide its line."
)


def render(workspace: Workspace) -> tuple[str, str]:
    return MARGIN, "".join(_model(model, workspace.params) for model in workspace.models)


def _model(model: Model, params: dict) -> str:
    parts = []
    if model.steps is None:
        parts.append(missing(model.results / "steps.csv", "curves over the steps"))
    if model.epochs is None:
        parts.append(missing(model.results / "epochs.csv", "validation curve"))
    figures = []
    mark = {}
    if model.steps is not None and model.diverged and len(model.steps):
        mark = vertical_mark(float(model.steps["step"].iloc[-1]), "diverged", "--alert")
    if model.steps is not None:
        figures.append(_loss(model, mark))
    if model.epochs is not None:
        figures.append(_validation(model, mark))
    if model.steps is not None:
        figures += [
            _gradient_norm(model, params, mark),
            _learning_rate(model, mark),
            _seconds(model, mark),
        ]
    body = "".join(parts) + (f'<div class="figures">{"".join(figures)}</div>' if figures else "")
    return f"<h3>{escape(model.title)}</h3>{body}"


def _loss(model: Model, mark: dict) -> str:
    steps = model.steps
    smooth, span = _smooth(steps["loss"])
    finite = _finite(steps["loss"])
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
        log=_positive(steps["loss"]),
        wide=True,
    )


def _validation(model: Model, mark: dict) -> str:
    epochs = model.epochs
    best = _finite(epochs["best_valid_loss"])
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
        log=_positive(epochs["valid_loss"]),
    )


def _gradient_norm(model: Model, params: dict, mark: dict) -> str:
    steps = model.steps
    smooth, _ = _smooth(steps["gradient_norm"])
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
    positive = _positive(steps["gradient_norm"])
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
    rates = _finite(steps["learning_rate"])
    ends = f"From {significant(rates[0], 3)} to {significant(rates[-1], 3)}." if rates.size else ""
    return figure(
        "Learning rate",
        ends,
        [line("learning rate", steps["step"], steps["learning_rate"], "--blue", shape="hv")],
        "step",
        "learning rate",
        [model.results / "steps.csv"],
        mark,
        log=_positive(steps["learning_rate"]),
    )


def _seconds(model: Model, mark: dict) -> str:
    steps = model.steps
    smooth, _ = _smooth(steps["seconds"])
    seconds = _finite(steps["seconds"])
    positive = _positive(steps["seconds"])
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


def _smooth(values: pd.Series) -> tuple[pd.Series, int]:
    """Exponential moving average over a twentieth of the run, and that span in steps."""
    span = max(10, round(len(values) / 20))
    finite = values.where(np.isfinite(values))
    return finite.ewm(span=span).mean(), span


def _finite(values: pd.Series) -> np.ndarray:
    values = values.to_numpy(dtype=np.float64)
    return values[np.isfinite(values)]


def _positive(values: pd.Series) -> bool:
    finite = _finite(values)
    return bool(finite.size and (finite > 0).all())


def _label(name: str, model: Model) -> str:
    return f"{name} ({model.loss_unit})" if model.loss_unit else name
