"""Against the study: the published runs and ours, where the choices are the same."""

from collections.abc import Sequence
from html import escape

import pandas as pd

from metrics import published
from metrics.experiments import Experiment, curves
from metrics.experiments import summary as summarize
from metrics.report.colors import style
from metrics.report.figure import figure, line
from metrics.report.markup import UNDEFINED, download, notice, number, significant, table
from metrics.report.overlay import UNNAMED, traces
from metrics.report.results import Workspace, library, value_at
from metrics.statistics import mean

MARGIN = (
    "What the study published, from one seed, and what came out here with the same optimizer, "
    "schedule and clipping."
)
SOURCE = (
    "Published numbers: repository Alan052918/9143-HPML-Project, commit 98e6cd5. SVoice there: "
    "100 epochs on eight mixtures that are training, validation and test set at once; a Tesla-"
    "class GPU. Spleeter: MUSDB18-HQ, 100 steps, Nesterov also 2,000; more than one kind of GPU. "
    "What is the same here, what is not and why, and what those numbers can show: "
)
# From results/ and from reports/, where the pages are.
PAGE = '<a href="../docs/study.md">docs/study.md</a>.'
CHOICES = ["optimizer", "schedule", "clipping"]


def render(workspace: Workspace) -> tuple[str, str]:
    """The workspace's own run alone."""
    run = [Experiment("this run", "", workspace)]
    summary = summarize(run).assign(variant="this run")
    return compare(run, summary, curves(run, "steps"), curves(run, "epochs"))


def compare(
    experiments: Sequence[Experiment],
    summary: pd.DataFrame,
    steps: pd.DataFrame,
    epochs: pd.DataFrame,
) -> tuple[str, str]:
    """summary, steps, epochs: of `metrics.experiments`."""
    speech, music = (summary[summary["model"] == model] for model in ("svoice", "spleeter"))
    parts = [notice(escape(SOURCE) + PAGE)]
    epochs = epochs[epochs["model"] == "svoice"]
    compared = final_values(speech, epochs)
    if compared["runs"].any():
        parts += ["<h3>SVoice</h3>", _table(compared), download("study_svoice.csv", compared)]
        parts += [_curves(speech, epochs)]
        parts.append(_differences(experiments, speech, PUBLISHED_SPEECH))
    steps = steps[steps["model"] == "spleeter"]
    losses = first_losses(music, steps)
    if losses["runs"].any():
        parts += ["<h3>Spleeter</h3>", _losses_table(losses)]
        parts += [download("study_spleeter.csv", losses), _losses(music, steps)]
        parts.append(_differences(experiments, music, PUBLISHED_MUSIC))
    if len(parts) == 1:
        parts.append(notice("No run here makes the choices of a published one."))
    return MARGIN, "".join(parts)


def first_losses(runs: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """One row per published run of Spleeter: `optimizer, steps`, and of as many of these as the
    longest run here with that optimizer has (`compared`): `runs`, how many here have as many, the
    mean training losses of their last tenth, `published` and `here`, and the medians of the steps'
    `seconds_published` and `seconds`. NaN if there are none."""
    rows = []
    for (optimizer, length), theirs in published.spleeter().groupby(["optimizer", "steps"]):
        ours, compared = _comparable(runs[runs["optimizer"] == optimizer], steps, length)
        theirs = theirs[theirs["step"] < compared]  # the study counts its steps from 0
        seconds = theirs["seconds"] / theirs["step"].diff()  # one run logged every fifth
        last = ours[ours["step"] > 0.9 * compared]
        rows.append(
            {
                "optimizer": optimizer,
                "steps": length,
                "compared": compared,
                "runs": ours["experiment"].nunique(),
                "published": theirs[theirs["step"] >= 0.9 * compared]["loss"].mean(),
                "here": mean(last.groupby("experiment")["loss"].mean()).value,
                "seconds_published": seconds.median(),
                "seconds": ours["seconds"].median(),
            }
        )
    return pd.DataFrame(rows)


def _comparable(runs: pd.DataFrame, steps: pd.DataFrame, length: int) -> tuple[pd.DataFrame, int]:
    """The steps up to `length`, or as far as the longest of the runs came, of those runs that came
    as far; and how far that is."""
    own = steps[steps["experiment"].isin(runs["experiment"])]
    if own.empty:
        return own, 0
    until = min(length, int(own["step"].max()))
    ends = own.groupby("experiment")["step"].transform("max")
    return own[(ends >= until) & (own["step"] <= until)], until


def _losses_table(losses: pd.DataFrame) -> str:
    rows = [
        [
            run.optimizer,
            f"{run.steps:,}",
            f"{run.compared:,}" if run.runs else UNDEFINED,
            f"{run.runs}",
            *(significant(value) for value in (run.published, run.here, run.here - run.published)),
            *(significant(value, 3) for value in (run.seconds_published, run.seconds)),
        ]
        for run in losses.itertuples()
    ]
    head = ["optimizer", "steps", "compared", "n", "loss, published", "here", "difference"]
    head += ["seconds per step, published", "here"]
    caption = "Spleeter: training loss, mean over the last tenth of the steps compared; median "
    caption += "step time"
    return table(head, rows, caption, kind="items")


def _losses(runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    figures = []
    for (optimizer, length), theirs in published.spleeter().groupby(["optimizer", "steps"]):
        members = runs[runs["optimizer"] == optimizer]
        ours = steps[steps["experiment"].isin(members["experiment"]) & (steps["step"] <= length)]
        if not ours["loss"].notna().any():
            continue
        # The study counts its steps from 0.
        lines = [line("published", theirs["step"] + 1, theirs["loss"], "--muted", dash="dot")]
        lines += traces(members, ours, "loss", style(runs))
        title = f"{optimizer}, {length:,} steps"
        caption = "Training loss: published, and each run here."
        figures.append(figure(title, caption, lines, "step", "loss", [], UNNAMED))
    return f'<div class="figures">{"".join(figures)}</div>'


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
    theirs = dict(tuple(published.svoice().groupby(CHOICES, sort=False)))
    figures = []
    for choices, members in runs.groupby(CHOICES, sort=False):
        if choices not in theirs or not members["experiment"].isin(epochs["experiment"]).any():
            continue
        study = theirs[choices]
        lines = [
            line("published", study["epoch"], study["valid_loss"], "--muted", dash="dot"),
            *traces(members, epochs, "valid_loss", style(runs), x="epoch"),
        ]
        figures.append(
            figure(
                " · ".join(choices),
                "Validation loss by epoch: published, and each run here.",
                lines,
                "epoch",
                "validation loss (dB)",
                [],
                UNNAMED,
            )
        )
    return f'<div class="figures">{"".join(figures)}</div>'


PUBLISHED_SPEECH = {  # what is compared: the published value, and where ours stands in params.yaml
    "data": ("the eight mixtures (svoice_debug)", ["speech.name"]),
    "N, L, H, R": ("128, 8, 128, 6", ["svoice.N", "svoice.L", "svoice.H", "svoice.R"]),
    "epochs": ("100", ["svoice.epochs"]),
    "batch, seconds of a segment": ("4, 4", ["svoice.batch_size", "svoice.segment_seconds"]),
    "padding of short segments in the loss": ("True (counted)", ["svoice.count_padding"]),
    "learning rate": ("0.0005", ["optimizer.svoice.lr"]),
    "precision": ("fp32", ["svoice.precision"]),
}
PUBLISHED_MUSIC = {
    "data": ("MUSDB18-HQ", ["music.name"]),
    "T, F": ("512, 1024", ["spleeter.T", "spleeter.F"]),
    "steps": ("100, Nesterov also 2000", ["spleeter.steps"]),
    "batch": ("4 segments", ["spleeter.batch_size"]),
    "chunks of a song": ("40", ["spleeter.chunks_per_song"]),
    "learning rate": ("0.1; Adadelta 0.001", ["optimizer.spleeter.learning_rate"]),
    "seed": ("4", ["seed"]),
}


def _differences(experiments: Sequence[Experiment], runs: pd.DataFrame, published: dict) -> str:
    """What the runs of a model here were trained on and in, and what the study's were."""
    trained = set(runs[runs["status"].isin(["completed", "diverged"])]["experiment"])
    workspaces = [each.workspace for each in experiments if each.name in trained]

    def told(values) -> str:
        return "; ".join(sorted({str(value) for value in values if value})) or UNDEFINED

    def setting(workspace: Workspace, keys: list[str]) -> str:
        return ", ".join(str(value_at(workspace.params, key)) for key in keys)

    rows = [
        [name, theirs, told(setting(workspace, keys) for workspace in workspaces)]
        for name, (theirs, keys) in published.items()
    ]
    models = [getattr(workspace, runs["model"].iloc[0]) for workspace in workspaces]
    rows.append(["hardware", "see above", told((m.train or {}).get("hardware") for m in models)])
    rows.append(["library", "not told", told(library(model.environment) for model in models)])
    return table(["", "published", "here"], rows, "The set-up", text_columns=3, kind="wide")
