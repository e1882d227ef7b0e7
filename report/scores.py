"""The section about how well the trained models of a run separate the test set."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from contract.layout import DETAILS, SCORES
from contract.scores import (
    BOUNDS,
    BSS_METRICS,
    MIXTURE_BOUND,
    ORACLE_BOUND,
    PERCEPTUAL_METRICS,
    SPEECH_METRICS,
)
from metrics.tables import unscored
from report.figure import figure, figures
from report.markup import details, missing, number, plural, source, table
from report.results import ModelResults, Workspace

MARGIN = "Measured on the test set, in dB. For all of them, higher is better."
FEW = 8  # the most items of which a table says more than a distribution
ROWS = 48  # the most rows of a table of items; the rest is in its file
COLORS = ("--blue", "--vermilion", "--green", "--purple")


def render(workspace: Workspace) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        workspace: the workspace of the run.
    """
    music, speech = workspace.models
    return MARGIN, f"<h3>{music.title}</h3>{_music(music)}<h3>{speech.title}</h3>{_speech(speech)}"


def _music(model: ModelResults) -> str:
    """Returns the part of the section about Spleeter."""
    parts = [_stems(model)]
    if model.scores is None:
        return "".join([*parts, missing(model.results / SCORES, "scores per track")])
    parts += [_left_out(model.scores), _tracks(model)]
    if model.scores["track"].nunique() > FEW:
        parts.append(_music_distribution(model))
    return "".join(parts)


def _stems(model: ModelResults) -> str:
    """Returns the table of the headline scores of each stem."""
    if model.aggregate is None:
        return missing(model.results / DETAILS, "scores")
    sdr, *others = BSS_METRICS
    bounds = model.aggregate.get("bounds", {})
    columns = {
        sdr: model.aggregate.get(sdr, {}),
        **{f"{sdr} of the {bound}": bounds.get(bound, {}) for bound in BOUNDS},
        **{metric: model.aggregate.get(metric, {}) for metric in others},
    }
    rows = [
        [stem, *(number(column.get(stem)) for column in columns.values())] for stem in columns[sdr]
    ]
    caption = "BSS Eval v4: median over the frames of a track, then over the tracks (dB)"
    headlines = table(["stem", *columns], rows, caption, total=True)
    names = [row[0] for row in rows]
    scores = {name: columns[sdr].get(name) for name in names}
    return headlines + source(model.results / DETAILS) + _between(model, sdr, scores, bounds)


def _between(
    model: ModelResults,
    metric: str,
    scores: dict[str, float | None],
    bounds: dict[str, dict[str, float | None]],
) -> str:
    """Returns the figure of scores between their bounds.

    Args:
        model: the model.
        metric: what the scores are, in dB.
        scores: by name, the score.
        bounds: by bound and name, the score of the bound.
    """
    if not bounds:
        return ""
    names = list(scores)
    marks = {MIXTURE_BOUND: ("mixture", "--vermilion"), ORACLE_BOUND: ("oracle", "--green")}
    traces = [
        go.Scatter(
            name=title,
            x=[bounds[bound].get(name) for name in names],
            y=names,
            meta=color,
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 18, "line": {"width": 2}},
            hovertemplate="%{x:.2f} dB",
        )
        for bound, (title, color) in marks.items()
    ]
    traces.append(
        go.Scatter(
            name=model.title,
            x=[scores[name] for name in names],
            y=names,
            meta="--blue",
            mode="markers",
            marker={"size": 11},
            hovertemplate="%{x:.2f} dB",
        )
    )
    return figures(
        figure(
            "Between the bounds",
            "The lower one is the mixture as the estimate, the upper one an oracle: the ideal "
            "ratio mask, which is made of the references.",
            traces,
            f"{metric} (dB)",
            "",
            [model.results / DETAILS],
            {"hovermode": "closest", "yaxis": {"autorange": "reversed"}, "showlegend": True},
        )
    )


def _left_out(scores: pd.DataFrame) -> str:
    """Returns the paragraphs about what the medians over frames and tracks leave out.

    Args:
        scores: as scores.csv of Spleeter has them.
    """
    paragraphs = ""
    if without_scores := unscored(scores):
        names = ", ".join(escape(track) for track in without_scores[:FEW])
        more = f" and {len(without_scores) - FEW} more" if len(without_scores) > FEW else ""
        paragraphs += (
            f"<p>{len(without_scores):,} of {plural(scores['track'].nunique(), 'track')} "
            f"{'has' if len(without_scores) == 1 else 'have'} no scores, and the medians leave "
            f"{'it' if len(without_scores) == 1 else 'them'} out: in every frame a reference or an "
            f"estimate is silent ({names}{more}).</p>"
        )
    if undefined := int(scores["nan_frames"].sum()):
        paragraphs += (
            f"<p>{undefined:,} of {int(scores['frames'].sum()):,} values, one per frame and stem, "
            "are undefined or infinite: a reference or an estimate is silent there, or the "
            "estimate equals the reference. The medians leave them out, as museval does.</p>"
        )
    return paragraphs


def _tracks(model: ModelResults) -> str:
    """Returns the table of the scores of each track and stem."""
    rows = [
        [
            row["track"],
            row["target"],
            *(number(row[metric]) for metric in BSS_METRICS),
            row["frames"],
            row["nan_frames"],
        ]
        for row in model.scores.head(ROWS).to_dict("records")
    ]
    return _items(
        ["track", "stem", *BSS_METRICS, "frames", "NaN frames"],
        rows,
        "Scores per track and stem: median over frames (dB)",
        model,
        model.scores["track"].nunique(),
        "track",
    )


def _music_distribution(model: ModelResults) -> str:
    stems = list(dict.fromkeys(model.scores["target"]))
    traces = []
    for stem, color in zip(stems, COLORS, strict=False):
        tidy = model.scores[model.scores["target"] == stem].melt(value_vars=list(BSS_METRICS))
        tidy = tidy[np.isfinite(tidy["value"])]
        traces.append(
            go.Box(
                name=stem,
                x=tidy["variable"].tolist(),
                y=tidy["value"].to_numpy(),
                meta=color,
                boxpoints="outliers",
                line={"width": 1.5},
                marker={"size": 3},
            )
        )
    tracks = plural(model.scores["track"].nunique() - len(unscored(model.scores)), "track")
    return figures(
        figure(
            "Distribution of the scores",
            f"Over {tracks}: median, quartiles, and whiskers of at most 1.5 times the "
            "interquartile range.",
            traces,
            "",
            "dB",
            [model.results / SCORES],
            {"boxmode": "group", "hovermode": "closest"},
            wide=True,
        )
    )


def _speech(model: ModelResults) -> str:
    """Returns the part of the section about SVoice."""
    columns = () if model.scores is None else model.scores
    perceptual = {key: name for key, name in PERCEPTUAL_METRICS.items() if key in columns}
    names = SPEECH_METRICS | perceptual
    unit = f"dB, except {' and '.join(perceptual.values())}" if perceptual else "dB"
    parts = [_means(model, names, unit)]
    if model.scores is None:
        return "".join([*parts, missing(model.results / SCORES, "scores per mixture")])
    parts.append(_mixtures(model, names, unit))
    if len(model.scores) > FEW:
        parts.append(_speech_distribution(model))
    return "".join(parts)


def _means(model: ModelResults, names: dict[str, str], unit: str) -> str:
    """Returns the table of the headline scores, with what is known of their distribution.

    Args:
        model: the results of SVoice.
        names: the name of each metric by its column in scores.csv.
        unit: the unit of the metrics, in words.
    """
    if model.aggregate is None:
        return missing(model.results / DETAILS, "scores")
    head = ["", "mean"]
    rows = [[name, number(model.aggregate.get(key))] for key, name in names.items()]
    paths = [model.results / DETAILS]
    if model.scores is not None:
        head += ["lowest", "median", "highest"]
        for row, key in zip(rows, names, strict=True):
            values = model.scores[key].dropna()
            row += [number(values.min()), number(values.median()), number(values.max())]
        paths.append(model.results / SCORES)
    bounds = model.aggregate.get("bounds", {})
    for bound in BOUNDS:
        head.append(f"mean of the {bound}")
        for row, key in zip(rows, names, strict=True):
            row.append(number(bounds.get(bound, {}).get(key)))
    count = model.aggregate.get("mixtures")
    mixtures = plural(count, "mixture") if count else "the mixtures"
    caption = f"Over {mixtures} and their speakers, best permutation ({unit})"
    shown = {SPEECH_METRICS[key]: model.aggregate.get(key) for key in SPEECH_METRICS}
    by_name = {
        bound: {SPEECH_METRICS[key]: value for key, value in values.items()}
        for bound, values in bounds.items()
    }
    return table(head, rows, caption) + source(*paths) + _between(model, "mean", shown, by_name)


def _mixtures(model: ModelResults, names: dict[str, str], unit: str) -> str:
    """Returns the table of the scores of each mixture and speaker.

    Args:
        model: the results of SVoice.
        names: the name of each metric by its column in scores.csv.
        unit: the unit of the metrics, in words.
    """
    rows = [
        [row["mixture"], row["speaker"], row["estimate"], *(number(row[key]) for key in names)]
        for row in model.scores.head(ROWS).to_dict("records")
    ]
    return _items(
        ["mixture", "speaker", "estimate", *names.values()],
        rows,
        f"Scores per mixture and speaker, with the estimate matched to the speaker ({unit})",
        model,
        model.scores["mixture"].nunique(),
        "mixture",
        text_columns=3,
    )


def _speech_distribution(model: ModelResults) -> str:
    scores = model.scores[np.isfinite(model.scores["si_snr_improvement"])]
    mixture_si_snr = scores["si_snr"] - scores["si_snr_improvement"]
    improvement = scores["si_snr_improvement"]
    worse = int((improvement < 0).sum())
    paths = [model.results / SCORES]
    return figures(
        figure(
            "Improvement of each estimate",
            f"{worse:,} of {plural(len(improvement), 'estimate')} are worse than the mixture "
            "itself.",
            [go.Histogram(x=improvement.to_numpy(), meta="--blue", nbinsx=30)],
            "SI-SNR improvement (dB)",
            "estimates",
            paths,
            {"bargap": 0.06, "hovermode": "closest"},
        ),
        figure(
            "Improvement against the input",
            "The improvement of each estimate, over the SI-SNR of the mixture.",
            [
                go.Scatter(
                    x=mixture_si_snr.to_numpy(),
                    y=improvement.to_numpy(),
                    meta="--blue",
                    mode="markers",
                    marker={"size": 6, "opacity": 0.7},
                    hovertemplate="%{x:.2f} dB in the mixture, improved by %{y:.2f} dB"
                    "<extra></extra>",
                )
            ],
            "SI-SNR of the mixture (dB)",
            "SI-SNR improvement (dB)",
            paths,
            {"hovermode": "closest"},
        ),
    )


def _items(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    caption: str,
    model: ModelResults,
    items: int,
    noun: str,
    text_columns: int = 2,
) -> str:
    """Returns a table of test items that folds away, if there are more than two.

    Args:
        head: the names of the columns.
        rows: the first rows of scores.csv.
        caption: the title.
        model: the model.
        items: how many there are.
        noun: the word for an item.
        text_columns: as for `report.markup.table`.
    """
    path = model.results / SCORES
    total = len(model.scores)
    if total > len(rows):
        caption += f"; the first {len(rows)} of {total:,} rows"
    html = table(head, rows, caption, text_columns=text_columns, kind="items") + source(path)
    return details(f"{noun.capitalize()} by {noun} ({items:,})", html, unfolded=items <= 2)
