"""Which variant to use: scores and losses over the seeds, and the differences to a baseline."""

import textwrap
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metrics.report.colors import style
from metrics.report.figure import figure
from metrics.report.labels import short
from metrics.report.markup import UNDEFINED, download, notice, number, plural, table
from metrics.statistics import Mean, difference, mean

MARGIN = (
    "Means over the seeds with their 95 % bootstrap intervals, and differences to the baseline, "
    "each seed with itself. n is how many seeds there are. A run that diverged counts by the best "
    "weights it had until then."
)
LABEL = 26  # characters of a line of a label
SCORES = {"spleeter": "SDR", "svoice": "SI-SNR improvement"}
TITLES = {"spleeter": "Spleeter", "svoice": "SVoice"}
UNITS = {"spleeter": "", "svoice": " (dB)"}  # of the losses
MEASURES = {"score": True, "best_valid_loss": False}  # whether more is better


def render(summary: pd.DataFrame, baseline: str) -> tuple[str, str]:
    """summary: as `metrics.experiments.summary` has it; baseline: a variant of it."""
    return MARGIN, "".join(
        f"<h3>{TITLES[model]}</h3>{_model(model, rows, baseline)}"
        for model, rows in summary.groupby("model", sort=False)
    )


def ranking(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row per variant of one model, the best mean score first, those without one last:
    `variant, runs, unlike` (how many runs have each status but `completed`), and of each measure
    (`score`, `best_valid_loss`) the `Mean` under its name and the `Mean` of the differences to the
    baseline under `<name>_difference`.
    """
    by_seed = {
        (variant, measure): dict(zip(runs["seed"], runs[measure].astype(float), strict=True))
        for variant, runs in rows.groupby("variant", sort=False)
        for measure in MEASURES
    }
    found = pd.DataFrame(
        [
            {
                "variant": variant,
                "runs": len(runs),
                "unlike": runs["status"]
                .value_counts()
                .drop("completed", errors="ignore")
                .to_dict(),
                **{
                    key: value
                    for measure in MEASURES
                    for key, value in {
                        measure: mean(list(by_seed[variant, measure].values())),
                        f"{measure}_difference": difference(
                            by_seed[variant, measure], by_seed.get((baseline, measure), {})
                        ),
                    }.items()
                },
            }
            for variant, runs in rows.groupby("variant", sort=False)
        ]
    )
    order = found["score"].map(lambda score: -score.value if score.n else np.inf)
    return found.loc[order.sort_values(kind="stable").index].reset_index(drop=True)


def _model(model: str, rows: pd.DataFrame, baseline: str) -> str:
    ranked = ranking(rows, baseline)
    score = SCORES[model]
    parts = []
    seeds = ranked["score"].map(lambda found: found.n)
    if seeds.max() <= 1:
        parts.append(
            notice(
                "One seed each: which of two variants is better may be chance, and no interval can "
                f"tell. Differences to <em>{escape(baseline)}</em> are single numbers."
            )
        )
    loss = f"best validation loss{UNITS[model]}"
    head = ["variant", "n", f"{score} (dB)", "to baseline", loss, "to baseline"]
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
    parts.append(table(head, body, f"Variants by {score}, the best first", kind="wide"))
    parts.append(download(f"{model}_ranking.csv", _tidy(ranked)))
    parts.append(download(f"{model}_runs.csv", rows))
    parts.append(_figure(ranked, score, style(rows)))
    return "".join(parts)


def _tidy(ranked: pd.DataFrame) -> pd.DataFrame:
    """One row per variant × measure: `variant, measure, value, low, high, n`."""
    columns = [name for measure in MEASURES for name in (measure, f"{measure}_difference")]
    return pd.DataFrame(
        [
            {"variant": row["variant"], "measure": column, **row[column]._asdict()}
            for row in ranked.to_dict("records")
            for column in columns
        ]
    )


def _remarks(row, baseline: str) -> str:
    remarks = ["baseline"] if row.variant == baseline else []
    for status, count in row.unlike.items():
        told = "not trained" if status == "missing" else status
        remarks.append(f"{count} of {plural(row.runs, 'run')} {told}")
    return f" ({', '.join(remarks)})" if remarks else ""


def _cell(found: Mean) -> str:
    if not found.n:
        return UNDEFINED
    if found.n == 1:
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def _figure(ranked: pd.DataFrame, score: str, looks: dict[str, dict[str, str]]) -> str:
    shown = ranked[ranked["score"].map(lambda found: found.n > 0)].iloc[::-1]
    if shown.empty:
        return ""

    labels = {variant: _wrapped(label) for variant, label in short(looks).items()}

    def reach(end: float, value: float) -> list[float]:
        return [0.0 if np.isnan(end) else abs(end - value)]

    return figure(
        f"{score} of each variant",
        "Means over the seeds, with 95 % bootstrap intervals where there are two or more.",
        [
            go.Scatter(
                name=variant,
                x=[found.value],
                y=[variant],
                mode="markers",
                meta=looks[variant]["color"],
                legendgroup=variant,
                marker={"size": 10},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": reach(found.high, found.value),
                    "arrayminus": reach(found.low, found.value),
                },
                hovertemplate="%{y}: %{x:.2f} dB<extra></extra>",
            )
            for variant, found in zip(shown["variant"], shown["score"], strict=True)
        ],
        f"{score} (dB)",
        "",
        [],
        {
            "hovermode": "closest",
            "showlegend": False,
            "yaxis": {
                "automargin": True,
                "type": "category",
                "tickvals": list(shown["variant"]),
                "ticktext": [labels[variant] for variant in shown["variant"]],
            },
        },
        wide=True,
        rows=sum(1 + label.count("<br>") for label in map(labels.get, shown["variant"])),
    )


def _wrapped(label: str) -> str:
    return "<br>".join(textwrap.wrap(label, LABEL, break_long_words=False))
