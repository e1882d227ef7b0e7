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
from report.markup import UNDEFINED, download, notice, number, plural, significant, table
from report.statistics import (
    VISIBLE,
    Difference,
    Mean,
    corrected,
    difference,
    mean,
    runs_needed,
)

MARGIN = (
    "Means over the {unit}s with their 95 % intervals by Student's t, and differences from the "
    "baseline, paired by {unit}. n is the number of {unit}s. The intervals are those of each "
    "number by itself. A difference counts as one only if the t-test of the pairs rejects that "
    "there is none at 5 %, after Holm's correction over the variants. How many {unit}s it takes to "
    "see {visible} dB four times in five is estimated from the spread of the same few pairs, and "
    "so is a rough number. A run that diverged counts with the best weights it had until then. The "
    "memory is that of the optimizer's state; it and the seconds per step are medians over the "
    "runs."
)
COSTS = ("optimizer_bytes", "seconds_per_step")
LABEL = 26  # characters of a line of a label
MEASURES = ("score", "best_valid_loss")
LOWER_IS_BETTER = "best_valid_loss"
MEGABYTE = 1e6  # bytes


def render(summary: pd.DataFrame, baseline: str, unit: str = "seed") -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        summary: as `report.experiments.summary` returns it.
        baseline: the variant that the others are compared with.
        unit: as for `by_unit`.
    """
    return MARGIN.format(unit=unit, visible=VISIBLE), "".join(
        f"<h3>{MODELS[key].title}</h3>{_model(MODELS[key], runs, baseline, unit)}"
        for key, runs in summary.groupby("model", sort=False)
    )


def by_unit(runs: pd.DataFrame, measure: str, unit: str = "seed") -> dict[str, dict[Any, float]]:
    """Returns the values that statistics may treat as independent, by variant and unit.

    Args:
        runs: the runs of one model, as `report.experiments.summary` returns them.
        measure: the column of the values.
        unit: the column that says which runs belong together, `seed` or `repetition`. The seeds of
            one repetition of the tuning share its choice, so that only their mean counts.

    Returns:
        By variant, the mean of each unit's finite values; NaN where a unit has none.
    """
    values = runs[measure].astype(float).replace([np.inf, -np.inf], np.nan)
    means = values.groupby([runs["variant"], runs[unit]], sort=False, dropna=False).mean()
    collected: dict[str, dict[Any, float]] = {variant: {} for variant in runs["variant"].unique()}
    for (variant, label), value in means.items():
        collected[variant][label] = value
    return collected


def ranking(runs: pd.DataFrame, baseline: str, unit: str = "seed") -> pd.DataFrame:
    """Returns the variants of one model, the best mean score first, those without one last.

    Args:
        runs: the runs of the model, as `report.experiments.summary` returns them.
        baseline: the variant that the others are compared with.
        unit: as for `by_unit`.

    Returns:
        One row per variant: `variant, runs` (how many); `incomplete`, how many runs have each
        status other than `completed`; for each measure (`score`, `best_valid_loss`) its `Mean`
        under its name, and the `Difference` from the baseline under `<name>_difference`, with
        Holm's correction over the variants but for the baseline's own; and the medians over the
        runs of `optimizer_bytes` and `seconds_per_step` (s), NaN where no run has them.
    """
    columns: dict[str, dict[str, Any]] = {}
    for measure in MEASURES:
        values = by_unit(runs, measure, unit)
        columns[measure] = {
            variant: mean(list(of_units.values())) for variant, of_units in values.items()
        }
        differences = {
            variant: difference(of_units, values.get(baseline, {}))
            for variant, of_units in values.items()
        }
        own = {baseline: differences.pop(baseline)} if baseline in differences else {}
        columns[f"{measure}_difference"] = corrected(differences) | own
    rows = []
    for variant, members in runs.groupby("variant", sort=False):
        statuses = members["status"].value_counts().drop(COMPLETED, errors="ignore")
        rows.append(
            {
                "variant": variant,
                "runs": len(members),
                "incomplete": statuses.to_dict(),
                **{name: by_variant[variant] for name, by_variant in columns.items()},
                **{cost: members[cost].dropna().astype(float).median() for cost in COSTS},
            }
        )
    ranked = pd.DataFrame(rows)
    order = ranked["score"].map(lambda score: -score.value if score.n else np.inf)
    return ranked.loc[order.sort_values(kind="stable").index].reset_index(drop=True)


def _model(model: Model, runs: pd.DataFrame, baseline: str, unit: str) -> str:
    """Returns the part of the section about one model."""
    ranked = ranking(runs, baseline, unit)
    parts = []
    if ranked["score"].map(lambda mean_score: mean_score.n).max() <= 1:
        parts.append(
            notice(
                f"One {unit} each: a difference between two variants may be chance, and there are "
                f"no intervals. Differences from <em>{escape(baseline)}</em> are single numbers."
            )
        )
    loss = model.with_loss_unit("best validation loss")
    head = ["variant", "n", f"{model.score} (dB)", "difference", loss, "difference"]
    head += ["memory (MB)", "seconds per step"]
    body = [
        [
            row.variant + _remarks(row, baseline),
            f"{row.score.n}",
            *(
                _cell(getattr(row, column))
                for measure in MEASURES
                for column in (measure, f"{measure}_difference")
            ),
            significant(row.optimizer_bytes / MEGABYTE, 3),
            significant(row.seconds_per_step, 3),
        ]
        for row in ranked.itertuples()
    ]
    parts.append(table(head, body, f"Variants by {model.score}, the best first", kind="items"))
    parts.append(_figure(ranked, model.score, style(runs), _bounds(runs), unit))
    if len(ranked) > 1:
        parts.append(_tests(ranked, "score", model.score, "dB", baseline, unit))
        own_unit = model.loss_unit
        parts.append(_tests(ranked, LOWER_IS_BETTER, loss, own_unit, baseline, unit))
    parts.append(download(f"{model.key}_ranking.csv", _tidy(ranked)))
    parts.append(download(f"{model.key}_runs.csv", runs))
    return "".join(parts)


def _tests(
    ranked: pd.DataFrame, measure: str, name: str, decibels: str, baseline: str, unit: str
) -> str:
    """Returns the table of what the differences from the baseline show.

    Args:
        ranked: as from `ranking`.
        measure: one of `MEASURES`.
        name: what it is, in words.
        decibels: `dB` if it is in decibels; only then is 0.2 dB a difference in its unit.
        baseline: the variant that the others are compared with.
        unit: as for `by_unit`.
    """
    others = ranked[ranked["variant"] != baseline]
    differences = others[f"{measure}_difference"]
    tests = sum(np.isfinite(each.p) for each in differences)
    head = ["variant", f"against {baseline}", "difference", "p", "p, corrected"]
    if decibels:
        head.append(f"{unit}s to see {VISIBLE} dB")
    rows = []
    for variant, each in zip(others["variant"], differences, strict=True):
        row = [variant, verdict(each, measure, unit), _cell(each)]
        row += [_probability(each.p), _probability(each.corrected)]
        if decibels:
            untested = np.isnan(each.deviation)
            row.append(UNDEFINED if untested else f"{runs_needed(each.deviation, tests):,}")
        rows.append(row)
    caption = f"{name[0].upper()}{name[1:]}: what the differences show"
    return table(head, rows, caption, text_columns=2, kind="items")


def verdict(each: Difference, measure: str, unit: str) -> str:
    """Returns what a difference shows, in words.

    Args:
        each: after the correction.
        measure: one of `MEASURES`, of which it is.
        unit: as for `by_unit`.
    """
    if each.n == 0:
        return f"no {unit} in common"
    if each.n == 1:
        return f"one {unit} in common: no test"
    if not each.distinct:
        return f"cannot be told apart at n = {each.n}"
    return "better" if (each.value < 0) == (measure == LOWER_IS_BETTER) else "worse"


def _tidy(ranked: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per variant × measure: `variant, measure, value, low, high, n`, and for a
    difference `deviation, p, corrected`."""
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


def _cell(value: Mean | Difference) -> str:
    """Returns a number with its interval, if it has one."""
    if not value.n:
        return UNDEFINED
    if value.n == 1:
        return number(value.value)
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"


def _probability(p: float) -> str:
    """Returns a p-value with three decimals, or that it is less than these can show."""
    return "< 0.001" if p < 0.001 else number(p, 3)


def _bounds(runs: pd.DataFrame) -> dict[str, float]:
    """Returns the bounds that all runs share, as they do if they have the same test set."""
    values = {bound: runs[bound].dropna().unique() for bound in BOUNDS}
    return {bound: float(shared[0]) for bound, shared in values.items() if len(shared) == 1}


def _figure(
    ranked: pd.DataFrame,
    score: str,
    looks: dict[str, dict[str, str]],
    bounds: dict[str, float],
    unit: str,
) -> str:
    """Returns the figure of the mean scores, the best at the top.

    Args:
        ranked: as from `ranking`.
        score: the name of the metric.
        looks: by variant, its colour and dashes.
        bounds: what the scores lie between, which are drawn as lines.
        unit: as for `by_unit`.
    """
    shown = ranked[ranked["score"].map(lambda mean_score: mean_score.n > 0)].iloc[::-1]
    if shown.empty:
        return ""

    labels = {variant: _wrapped(label) for variant, label in short(looks).items()}
    return figure(
        f"{score} of each variant",
        f"Means over the {unit}s, with 95 % intervals by Student's t where there are two or more."
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
