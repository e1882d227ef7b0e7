"""The section about which variant to use: scores and losses over the seeds, and the differences
from a baseline."""

from __future__ import annotations

import textwrap
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from contract.models import MODELS, Model
from contract.records import COMPLETED
from contract.scores import BOUNDS
from report.colors import style
from report.experiments import MISSING
from report.figure import figure, vertical_mark
from report.labels import short
from report.markup import UNDEFINED, download, notice, number, plural, table
from report.statistics import Mean, difference, mean

MARGIN = (
    "Means over the seeds with their 95 % bootstrap intervals, and differences from the baseline, "
    "paired by seed. n is the number of seeds. A run that diverged counts with the best weights it "
    "had until then."
)
LABEL = 26  # characters of a line of a label
MEASURES = ("score", "best_valid_loss")


def render(summary: pd.DataFrame, baseline: str) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        summary: as `report.experiments.summary` returns it.
        baseline: the variant that the others are compared with.
    """
    return MARGIN, "".join(
        f"<h3>{MODELS[key].title}</h3>{_model(MODELS[key], runs, baseline)}"
        for key, runs in summary.groupby("model", sort=False)
    )


def ranking(runs: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Returns the variants of one model, the best mean score first, those without one last.

    Args:
        runs: the runs of the model, as `report.experiments.summary` returns them.
        baseline: the variant that the others are compared with.

    Returns:
        One row per variant: `variant, runs` (how many); `incomplete`, how many runs have each
        status other than `completed`; and for each measure (`score`, `best_valid_loss`) its `Mean`
        under its name, and the `Mean` of the differences from the baseline under
        `<name>_difference`.
    """
    by_seed = {
        (variant, measure): dict(zip(members["seed"], members[measure].astype(float), strict=True))
        for variant, members in runs.groupby("variant", sort=False)
        for measure in MEASURES
    }
    rows = []
    for variant, members in runs.groupby("variant", sort=False):
        statuses = members["status"].value_counts().drop(COMPLETED, errors="ignore")
        row = {"variant": variant, "runs": len(members), "incomplete": statuses.to_dict()}
        for measure in MEASURES:
            values = by_seed[variant, measure]
            row[measure] = mean(list(values.values()))
            row[f"{measure}_difference"] = difference(values, by_seed.get((baseline, measure), {}))
        rows.append(row)
    ranked = pd.DataFrame(rows)
    order = ranked["score"].map(lambda score: -score.value if score.n else np.inf)
    return ranked.loc[order.sort_values(kind="stable").index].reset_index(drop=True)


def _model(model: Model, runs: pd.DataFrame, baseline: str) -> str:
    """Returns the part of the section about one model."""
    ranked = ranking(runs, baseline)
    parts = []
    if ranked["score"].map(lambda mean_score: mean_score.n).max() <= 1:
        parts.append(
            notice(
                "One seed each: a difference between two variants may be chance, and there are no "
                f"intervals. Differences from <em>{escape(baseline)}</em> are single numbers."
            )
        )
    loss = model.with_loss_unit("best validation loss")
    head = ["variant", "n", f"{model.score} (dB)", "difference", loss, "difference"]
    body = [
        [
            row.variant + _remarks(row, baseline),
            f"{row.score.n}",
            *(
                _cell(getattr(row, column))
                for measure in MEASURES
                for column in (measure, f"{measure}_difference")
            ),
        ]
        for row in ranked.itertuples()
    ]
    parts.append(table(head, body, f"Variants by {model.score}, the best first", kind="wide"))
    parts.append(download(f"{model.key}_ranking.csv", _tidy(ranked)))
    parts.append(download(f"{model.key}_runs.csv", runs))
    parts.append(_figure(ranked, model.score, style(runs), _bounds(runs)))
    return "".join(parts)


def _tidy(ranked: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per variant × measure: `variant, measure, value, low, high, n`."""
    columns = [name for measure in MEASURES for name in (measure, f"{measure}_difference")]
    return pd.DataFrame(
        [
            {"variant": row["variant"], "measure": column, **row[column]._asdict()}
            for row in ranked.to_dict("records")
            for column in columns
        ]
    )


def _remarks(row: Any, baseline: str) -> str:
    """Returns what stands in brackets after a variant: whether it is the baseline, and how many of
    its runs are incomplete."""
    remarks = ["baseline"] if row.variant == baseline else []
    for status, count in row.incomplete.items():
        words = "not trained" if status == MISSING else status
        remarks.append(f"{count} of {plural(row.runs, 'run')} {words}")
    return f" ({', '.join(remarks)})" if remarks else ""


def _cell(value: Mean) -> str:
    if not value.n:
        return UNDEFINED
    if value.n == 1:
        return number(value.value)
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"


def _bounds(runs: pd.DataFrame) -> dict[str, float]:
    """Returns the bounds that all runs share, as they do if they have the same test set."""
    values = {bound: runs[bound].dropna().unique() for bound in BOUNDS}
    return {bound: float(shared[0]) for bound, shared in values.items() if len(shared) == 1}


def _figure(
    ranked: pd.DataFrame, score: str, looks: dict[str, dict[str, str]], bounds: dict[str, float]
) -> str:
    """Returns the figure of the mean scores, the best at the top.

    Args:
        ranked: as from `ranking`.
        score: the name of the metric.
        looks: by variant, its colour and dashes.
        bounds: what the scores lie between, which are drawn as lines.
    """
    shown = ranked[ranked["score"].map(lambda mean_score: mean_score.n > 0)].iloc[::-1]
    if shown.empty:
        return ""

    labels = {variant: _wrapped(label) for variant, label in short(looks).items()}
    return figure(
        f"{score} of each variant",
        "Means over the seeds, with 95 % bootstrap intervals where there are two or more."
        + (_explanation(bounds) if bounds else ""),
        [
            _point(variant, mean_score, looks[variant]["color"])
            for variant, mean_score in zip(shown["variant"], shown["score"], strict=True)
        ],
        f"{score} (dB)",
        "",
        [],
        {
            "hovermode": "closest",
            "showlegend": False,
            **_lines(bounds),
            "yaxis": {
                "automargin": True,
                "type": "category",
                "tickvals": list(shown["variant"]),
                "ticktext": [labels[variant] for variant in shown["variant"]],
            },
        },
        wide=True,
        rows=sum(1 + labels[variant].count("<br>") for variant in shown["variant"]),
    )


def _explanation(bounds: dict[str, float]) -> str:
    """Returns a sentence about the lines of the bounds."""
    lines = " and ".join(f"the {name} ({number(value)} dB)" for name, value in bounds.items())
    return f" The lines are {lines}."


def _lines(bounds: dict[str, float]) -> dict[str, Any]:
    """Returns the layout of the lines of the bounds."""
    marks = [vertical_mark(value, name, "--muted") for name, value in bounds.items()]
    return {
        part: [item for mark in marks for item in mark[part]] for part in ("shapes", "annotations")
    }


def _point(variant: str, mean_score: Mean, color: str) -> go.Scatter:
    """Returns the point of a variant's mean score, with its interval if there is one."""

    def reach(end: float) -> list[float]:
        return [0.0 if np.isnan(end) else abs(end - mean_score.value)]

    return go.Scatter(
        name=variant,
        x=[mean_score.value],
        y=[variant],
        mode="markers",
        meta=color,
        legendgroup=variant,
        marker={"size": 10},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": reach(mean_score.high),
            "arrayminus": reach(mean_score.low),
        },
        hovertemplate="%{y}: %{x:.2f} dB<extra></extra>",
    )


def _wrapped(label: str) -> str:
    return "<br>".join(textwrap.wrap(label, LABEL, break_long_words=False))
