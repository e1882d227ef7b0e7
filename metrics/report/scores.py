"""How well the trained models separate the test set."""

from html import escape

import numpy as np
import plotly.graph_objects as go

from metrics.report.figure import figure
from metrics.report.markup import details, missing, number, plural, source, table
from metrics.report.results import Model, Workspace
from metrics.workspace import BSS_METRICS, PERCEPTUAL_METRICS, SPEECH_METRICS, unscored

MARGIN = "Measured on the test set, in dB. Higher is better everywhere."
FEW = 8  # items up to which a table says more than a distribution
ROWS = 48  # of an item-by-item table; the rest is in its file
COLORS = ("--blue", "--vermilion", "--green", "--purple")


def render(workspace: Workspace) -> tuple[str, str]:
    music, speech = workspace.models
    return MARGIN, f"<h3>{music.title}</h3>{_music(music)}<h3>{speech.title}</h3>{_speech(speech)}"


def _music(model: Model) -> str:
    parts = []
    if model.aggregate is None:
        parts.append(missing(model.results / "scores.json", "scores"))
    else:
        stems = list(model.aggregate.get("SDR", {}))
        rows = [
            [stem, *(number(model.aggregate.get(m, {}).get(stem)) for m in BSS_METRICS)]
            for stem in stems
        ]
        parts.append(
            table(
                ["stem", *BSS_METRICS],
                rows,
                "BSS Eval v4: median over the frames of a track, then over the tracks (dB)",
                total=True,
            )
        )
        parts.append(source(model.results / "scores.json"))
    if model.scores is None:
        parts.append(missing(model.results / "scores.csv", "scores per track"))
        return "".join(parts)
    scores = model.scores
    if without := unscored(scores):
        named = ", ".join(escape(track) for track in without[:FEW])
        more = f" and {len(without) - FEW} more" if len(without) > FEW else ""
        parts.append(
            f"<p>{len(without):,} of {plural(scores['track'].nunique(), 'track')} "
            f"{'has' if len(without) == 1 else 'have'} no scores and no part in the medians: "
            f"in every frame a reference or an estimate is silent ({named}{more}).</p>"
        )
    silent = int(scores["nan_frames"].sum())
    if silent:
        parts.append(
            f"<p>{silent:,} of {int(scores['frames'].sum()):,} values, one per frame and stem, "
            "are undefined or infinite: a reference or an estimate is silent there, or the "
            "estimate is the reference. The medians leave them out, as museval does.</p>"
        )
    rows = [
        [
            row["track"],
            row["target"],
            *(number(row[metric]) for metric in BSS_METRICS),
            row["frames"],
            row["nan_frames"],
        ]
        for row in scores.head(ROWS).to_dict("records")
    ]
    parts.append(
        _items(
            ["track", "stem", *BSS_METRICS, "frames", "NaN frames"],
            rows,
            "Scores per track and stem: median over frames (dB)",
            model,
            scores["track"].nunique(),
            "track",
        )
    )
    if scores["track"].nunique() > FEW:
        parts.append(_music_distribution(model))
    return "".join(parts)


def _music_distribution(model: Model) -> str:
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
    return _figures(
        figure(
            "Distribution of the scores",
            f"Over {tracks}: median, quartiles, and whiskers to 1.5 times their distance.",
            traces,
            "",
            "dB",
            [model.results / "scores.csv"],
            {"boxmode": "group", "hovermode": "closest"},
            wide=True,
        )
    )


def _speech(model: Model) -> str:
    parts = []
    there = () if model.scores is None else model.scores
    perceptual = {key: name for key, name in PERCEPTUAL_METRICS.items() if key in there}
    names = SPEECH_METRICS | perceptual
    unit = f"dB, but {' and '.join(perceptual.values())}" if perceptual else "dB"
    if model.aggregate is None:
        parts.append(missing(model.results / "scores.json", "scores"))
    else:
        head = ["", "mean"]
        rows = [[name, number(model.aggregate.get(key))] for key, name in names.items()]
        paths = [model.results / "scores.json"]
        if model.scores is not None:
            head += ["lowest", "median", "highest"]
            for row, key in zip(rows, names, strict=True):
                values = model.scores[key].dropna()
                row += [number(values.min()), number(values.median()), number(values.max())]
            paths.append(model.results / "scores.csv")
        count = model.aggregate.get("mixtures")
        over = plural(count, "mixture") if count else "the mixtures"
        parts.append(
            table(head, rows, f"Over {over} and their speakers, best permutation ({unit})")
        )
        parts.append(source(*paths))
    if model.scores is None:
        parts.append(missing(model.results / "scores.csv", "scores per mixture"))
        return "".join(parts)
    scores = model.scores
    rows = [
        [row["mixture"], row["speaker"], row["estimate"], *(number(row[key]) for key in names)]
        for row in scores.head(ROWS).to_dict("records")
    ]
    parts.append(
        _items(
            ["mixture", "speaker", "estimate", *names.values()],
            rows,
            f"Scores per mixture and speaker, with the estimate matched to the speaker ({unit})",
            model,
            scores["mixture"].nunique(),
            "mixture",
            text_columns=3,
        )
    )
    if len(scores) > FEW:
        parts.append(_speech_distribution(model))
    return "".join(parts)


def _speech_distribution(model: Model) -> str:
    scores = model.scores[np.isfinite(model.scores["si_snr_improvement"])]
    before = scores["si_snr"] - scores["si_snr_improvement"]
    gain = scores["si_snr_improvement"]
    worse = int((gain < 0).sum())
    path = [model.results / "scores.csv"]
    return _figures(
        figure(
            "Improvement of each estimate",
            f"{worse:,} of {plural(len(gain), 'estimate')} are worse than the mixture itself.",
            [go.Histogram(x=gain.to_numpy(), meta="--blue", nbinsx=30)],
            "SI-SNR improvement (dB)",
            "estimates",
            path,
            {"bargap": 0.06, "hovermode": "closest"},
        ),
        figure(
            "Improvement against the input",
            "How much was gained, by how well the speaker stood out in the mixture.",
            [
                go.Scatter(
                    x=before.to_numpy(),
                    y=gain.to_numpy(),
                    meta="--blue",
                    mode="markers",
                    marker={"size": 6, "opacity": 0.7},
                    hovertemplate="%{x:.2f} dB in the mixture, improved by %{y:.2f} dB"
                    "<extra></extra>",
                )
            ],
            "SI-SNR of the mixture (dB)",
            "SI-SNR improvement (dB)",
            path,
            {"hovermode": "closest"},
        ),
    )


def _items(
    head: list[str],
    rows: list[list[str]],
    caption: str,
    model: Model,
    items: int,
    noun: str,
    text_columns: int = 2,
) -> str:
    path = model.results / "scores.csv"
    total = len(model.scores)
    if total > len(rows):
        caption += f"; the first {len(rows)} of {total:,} rows"
    made = table(head, rows, caption, text_columns=text_columns, kind="items") + source(path)
    return details(f"{noun.capitalize()} by {noun} ({items:,})", made, unfolded=items <= 2)


def _figures(*figures: str) -> str:
    return f'<div class="figures">{"".join(figures)}</div>'
