"""Against the study: the published runs and ours, where the choices are the same."""

from collections.abc import Sequence
from html import escape

import pandas as pd

from metrics import published
from metrics.experiments import Experiment
from metrics.report.colors import style
from metrics.report.figure import figure, line
from metrics.report.markup import UNDEFINED, notice, number, table
from metrics.statistics import mean

MARGIN = (
    "What the study published, from one seed, and what came out here with the same optimizer, "
    "schedule and clipping."
)
SOURCE = (
    "Published numbers: repository Alan052918/9143-HPML-Project, commit 98e6cd5. SVoice there: "
    "100 epochs on eight mixtures that are training, validation and test set at once; a Tesla-"
    "class GPU. Spleeter: MUSDB18-HQ, 100 steps, Nesterov also 2,000; more than one kind of GPU."
)
CHOICES = ["optimizer", "schedule", "clipping"]


def render(
    experiments: Sequence[Experiment], summary: pd.DataFrame, epochs: pd.DataFrame
) -> tuple[str, str]:
    parts = [notice(escape(SOURCE))]
    runs = summary[summary["model"] == "svoice"]
    compared = final_values(runs, epochs[epochs["model"] == "svoice"])
    if compared["runs"].any():
        parts += [_table(compared), _curves(runs, epochs[epochs["model"] == "svoice"])]
        parts.append(_differences(experiments))
    else:
        parts.append(notice("None of these experiments makes the choices of a published run."))
    return MARGIN, "".join(parts)


def final_values(runs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """One row per published run of SVoice: `optimizer, schedule, clipping`, its validation losses
    `final_published, best_published` (dB), how many `runs` with the same choices there are here,
    and the means of theirs, `final, best` (NaN if there are none)."""
    last = epochs.groupby("experiment", sort=False)[["valid_loss", "best_valid_loss"]].last()
    rows = []
    for choices, theirs in published.svoice().groupby(CHOICES, sort=False):
        same = (runs[CHOICES] == list(choices)).all(axis=1)
        ours = last.loc[last.index.intersection(runs[same]["experiment"])]
        rows.append(
            {
                **dict(zip(CHOICES, choices, strict=True)),
                "final_published": theirs["valid_loss"].iloc[-1],
                "best_published": theirs["best_valid_loss"].iloc[-1],
                "runs": len(ours),
                "final": mean(ours["valid_loss"]).value,
                "best": mean(ours["best_valid_loss"]).value,
            }
        )
    return pd.DataFrame(rows)


def _table(compared: pd.DataFrame) -> str:
    head = ["optimizer", "schedule", "clipping", "n"]
    head += ["final, published", "here", "difference", "best, published", "here", "difference"]
    rows = []
    for run in compared.itertuples():
        cells = []
        for theirs, ours in ((run.final_published, run.final), (run.best_published, run.best)):
            cells += [number(theirs), number(ours), number(ours - theirs)]
        rows.append([run.optimizer, run.schedule, run.clipping, f"{run.runs}", *cells])
    caption = "SVoice: validation loss (negative SI-SNR, dB) after the last epoch, and the best"
    return table(head, rows, caption, text_columns=3, kind="items")


def _curves(runs: pd.DataFrame, epochs: pd.DataFrame) -> str:
    looks = style(runs)
    theirs = dict(tuple(published.svoice().groupby(CHOICES, sort=False)))
    figures = []
    for choices, members in runs.groupby(CHOICES, sort=False):
        if choices not in theirs:
            continue
        color = looks[members["variant"].iloc[0]]["color"]
        study = theirs[choices]
        lines = [
            line("published", study["epoch"], study["valid_loss"], "--muted", dash="dot"),
            *(
                line(name, rows["epoch"], rows["valid_loss"], color)
                for name, rows in epochs.groupby("experiment", sort=False)
                if name in set(members["experiment"])
            ),
        ]
        figures.append(
            figure(
                " · ".join(choices),
                "Validation loss by epoch: published, and each run here.",
                lines,
                "epoch",
                "validation loss (dB)",
                [],
            )
        )
    return f'<div class="figures">{"".join(figures)}</div>'


def _differences(experiments: Sequence[Experiment]) -> str:
    """What the runs here were trained on and in, as the study's were not."""

    def told(pick) -> str:
        found = {str(pick(experiment)) for experiment in experiments}
        return ", ".join(sorted(found - {"None"})) or UNDEFINED

    def setting(*keys):
        def pick(experiment):
            value = experiment.workspace.params
            for key in keys:
                value = (value or {}).get(key)
            return value

        return pick

    def version(experiment):
        environment = experiment.workspace.svoice.environment or {}
        return environment.get("packages", {}).get("torch")

    size = ("N", "L", "H", "R")
    rows = [
        ["data", "the eight mixtures (svoice_debug)", told(setting("speech", "name"))],
        ["epochs", "100", told(setting("svoice", "epochs"))],
        ["N, L, H, R", "128, 8, 128, 6", ", ".join(told(setting("svoice", k)) for k in size)],
        ["batch", "4", told(setting("svoice", "batch_size"))],
        ["learning rate", "0.0005", told(setting("optimizer", "svoice", "lr"))],
        ["PyTorch", "not told", told(version)],
    ]
    return table(["", "published", "here"], rows, "What differs", text_columns=3, kind="wide")
