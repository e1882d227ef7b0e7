"""Whether the runs were sound: divergence, gradients, how often clipping acted, learning rates."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metrics.report import overlay
from metrics.report.colors import style
from metrics.report.figure import figure
from metrics.report.markup import UNDEFINED, number, significant, table
from metrics.report.ranking import TITLES

MARGIN = (
    "Runs that diverged or left nothing, the gradients' global norms before clipping, how often "
    "clipping by that norm acted, and the learning rates as they were."
)


def render(summary: pd.DataFrame, steps: pd.DataFrame, limits: dict[str, float]) -> tuple[str, str]:
    """summary, steps: of `metrics.experiments`; limits: by experiment the largest norm that
    clipping lets through, of those that clip by norm."""
    return MARGIN, "".join(
        f"<h3>{TITLES[model]}</h3>{_model(runs, steps[steps['model'] == model], limits)}"
        for model, runs in summary.groupby("model", sort=False)
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


def _model(runs: pd.DataFrame, steps: pd.DataFrame, limits: dict[str, float]) -> str:
    found = health(runs, steps, limits)
    head = ["experiment", "variant", "status", "steps", "median norm", "largest norm", "clipped"]
    rows = [
        [
            run.experiment,
            run.variant,
            f"▲ {run.status}" if run.status == "diverged" else run.status,
            f"{run.steps:,}",
            significant(run.median_norm, 3),
            significant(run.largest_norm, 3),
            UNDEFINED if np.isnan(run.clipped) else f"{number(100 * run.clipped, 0)} %",
        ]
        for run in found.itertuples()
    ]
    parts = [table(head, rows, "Every run", text_columns=3, kind="items")]
    if not steps.empty:
        figures = [_norms(runs, steps)]
        lines = overlay.traces(runs, steps, "learning_rate", points=overlay.POINTS, shape="hv")
        if lines:
            figures.append(
                figure("Learning rate", "", lines, "step", "learning rate", [], overlay.UNNAMED)
            )
        parts.append(f'<div class="figures">{"".join(figures)}</div>')
    return "".join(parts)


def _norms(runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    looks = style(runs)
    named = steps.merge(runs[["experiment", "variant"]], on="experiment")
    named = named[np.isfinite(named["gradient_norm"]) & (named["gradient_norm"] > 0)]
    boxes = []
    for variant, rows in named.groupby("variant", sort=False):
        low, first, middle, third, high = np.percentile(rows["gradient_norm"], [0, 25, 50, 75, 100])
        # Five numbers say it; a hundred runs' steps would make the page heavy.
        boxes.append(
            go.Box(
                name=variant,
                x=[variant],
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
        {"showlegend": False, "hovermode": "closest", "yaxis": {"type": "log"}},
        scale="log",
    )
