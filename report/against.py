"""The section that compares runs with those of the study, where the choices are the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import pandas as pd

from contract.menu import SPLEETER, SVOICE
from contract.models import MODELS
from contract.records import COMPLETED, DIVERGED
from contract.yaml_files import value_at
from report import published
from report.colors import style
from report.experiments import CHOICES, Experiment, curves
from report.experiments import summary as summarize
from report.figure import figure, figures, line
from report.markup import UNDEFINED, download, notice, number, significant, table
from report.overlay import UNNAMED, traces
from report.results import Workspace, library
from report.statistics import mean

MARGIN = (
    "What the study published, of one seed, and what came out here with the same optimizer, "
    "schedule and clipping."
)
SOURCE = (
    "Published numbers: repository Alan052918/9143-HPML-Project, commit 98e6cd5. The study trained "
    "SVoice for 100 epochs on eight mixtures, which were its training, validation and test set at "
    "once, on a GPU of Google Colab. It trained Spleeter on MUSDB18-HQ for 100 steps, with "
    "Nesterov also for 2,000, on more than one kind of GPU. It does not name the GPUs. What is the "
    "same here, what differs and why, and what those numbers can show: "
)
# Relative to results/ and to reports/, where the pages are.
PAGE = '<a href="../docs/study.md">docs/study.md</a>.'


def render(workspace: Workspace) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML about one run.

    Args:
        workspace: the workspace of the run.
    """
    experiments = [Experiment("this run", "", workspace)]
    summary = summarize(experiments).assign(variant="this run")
    return compare(
        experiments, summary, curves(experiments, "steps"), curves(experiments, "epochs")
    )


def compare(
    experiments: Sequence[Experiment],
    summary: pd.DataFrame,
    steps: pd.DataFrame,
    epochs: pd.DataFrame,
) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML about several experiments.

    Args:
        experiments: all of them.
        summary: as `report.experiments.summary` returns it.
        steps: as `report.experiments.curves` returns them.
        epochs: as `report.experiments.curves` returns them.
    """
    speech, music = (summary[summary["model"] == model] for model in (SVOICE, SPLEETER))
    parts = [notice(escape(SOURCE) + PAGE)]
    epochs = epochs[epochs["model"] == SVOICE]
    values = final_values(speech, epochs)
    if values["runs"].any():
        parts += [
            f"<h3>{MODELS[SVOICE].title}</h3>",
            _values_table(values),
            download("study_svoice.csv", values),
        ]
        parts.append(_validation_figures(speech, epochs))
        parts.append(_setups(experiments, speech, PUBLISHED_SPEECH))
    steps = steps[steps["model"] == SPLEETER]
    losses = first_losses(music, steps)
    if losses["runs"].any():
        parts += [f"<h3>{MODELS[SPLEETER].title}</h3>", _losses_table(losses)]
        parts += [download("study_spleeter.csv", losses), _loss_figures(music, steps)]
        parts.append(_setups(experiments, music, PUBLISHED_MUSIC))
    if len(parts) == 1:
        parts.append(
            notice("No run here has the optimizer, schedule and clipping of a published one.")
        )
    return MARGIN, "".join(parts)


def first_losses(runs: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Returns the losses of Spleeter, published and here, over the steps that both have.

    Args:
        runs: the runs of Spleeter, as `report.experiments.summary` returns them.
        steps: the steps of Spleeter, as `report.experiments.curves` returns them.

    Returns:
        One row per published run: `optimizer, steps`; `compared`, over how many of these steps,
        which is as many as the longest run here with that optimizer has; `runs`, how many here have
        as many; `published` and `here`, the mean training losses of the last tenth of the compared
        steps; `seconds_published` and `seconds`, the median step times. NaN if there are no runs.
    """
    rows = []
    published_runs = published.spleeter().groupby(["optimizer", "steps"])
    for (optimizer, length), published_steps in published_runs:
        own_steps, compared = _comparable(runs[runs["optimizer"] == optimizer], steps, length)
        # The study counts its steps from 0.
        published_steps = published_steps[published_steps["step"] < compared]
        published_last = published_steps[published_steps["step"] >= 0.9 * compared]
        own_last = own_steps[own_steps["step"] > 0.9 * compared]
        # One published run logged every fifth step.
        published_seconds = published_steps["seconds"] / published_steps["step"].diff()
        rows.append(
            {
                "optimizer": optimizer,
                "steps": length,
                "compared": compared,
                "runs": own_steps["experiment"].nunique(),
                "published": published_last["loss"].mean(),
                "here": mean(own_last.groupby("experiment")["loss"].mean()).value,
                "seconds_published": published_seconds.median(),
                "seconds": own_steps["seconds"].median(),
            }
        )
    return pd.DataFrame(rows)


def _comparable(runs: pd.DataFrame, steps: pd.DataFrame, length: int) -> tuple[pd.DataFrame, int]:
    """Returns the steps of the runs that are compared with a published run, and how many these are.

    That is `length`, or as many as the longest of the runs has. Runs with fewer are left out.

    Args:
        runs: those with the optimizer of the published run.
        steps: the steps of all runs.
        length: how many steps the published run has.
    """
    own_steps = steps[steps["experiment"].isin(runs["experiment"])]
    if own_steps.empty:
        return own_steps, 0
    compared = min(length, int(own_steps["step"].max()))
    lengths = own_steps.groupby("experiment")["step"].transform("max")
    return own_steps[(lengths >= compared) & (own_steps["step"] <= compared)], compared


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
    caption = (
        "Spleeter: mean training loss of the last tenth of the steps compared, and median time "
        "per step"
    )
    return table(head, rows, caption, kind="items")


def _loss_figures(runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    """Returns a figure for each published run of Spleeter that there are runs for."""
    drawn = []
    published_runs = published.spleeter().groupby(["optimizer", "steps"])
    for (optimizer, length), published_steps in published_runs:
        members = runs[runs["optimizer"] == optimizer]
        own_steps = steps[
            steps["experiment"].isin(members["experiment"]) & (steps["step"] <= length)
        ]
        if not own_steps["loss"].notna().any():
            continue
        # The study counts its steps from 0.
        x, y = published_steps["step"] + 1, published_steps["loss"]
        lines = [line("published", x, y, "--muted", dash="dot")]
        lines += traces(members, own_steps, "loss", style(runs))
        title = f"{optimizer}, {length:,} steps"
        caption = "Training loss of the published run and of each run here."
        drawn.append(figure(title, caption, lines, "step", "loss", [], UNNAMED))
    return figures(*drawn)


def final_values(runs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Returns the validation losses of SVoice, published and here.

    Args:
        runs: the runs of SVoice, as `report.experiments.summary` returns them.
        epochs: the epochs of SVoice, as `report.experiments.curves` returns them.

    Returns:
        One row per published run: `optimizer, schedule, clipping`; `final_published` and
        `best_published`, its losses after the last epoch and at best (dB); `runs`, how many here
        have the same choices; `final` and `best`, the means over these (NaN if there are none).
    """
    last = epochs.groupby("experiment", sort=False)[["valid_loss", "best_valid_loss"]].last()
    rows = []
    for choices, published_epochs in published.svoice().groupby(list(CHOICES), sort=False):
        same = (runs[list(CHOICES)] == list(choices)).all(axis=1)
        own = last.loc[last.index.intersection(runs[same]["experiment"])]
        rows.append(
            {
                **dict(zip(CHOICES, choices, strict=True)),
                "final_published": published_epochs["valid_loss"].iloc[-1],
                "best_published": published_epochs["best_valid_loss"].iloc[-1],
                "runs": len(own),
                "final": mean(own["valid_loss"]).value,
                "best": mean(own["best_valid_loss"]).value,
            }
        )
    return pd.DataFrame(rows)


def _values_table(values: pd.DataFrame) -> str:
    head = ["optimizer", "schedule", "clipping", "n"]
    head += ["final, published", "here", "difference", "best, published", "here", "difference"]
    rows = []
    for run in values.itertuples():
        cells = []
        pairs = (run.final_published, run.final), (run.best_published, run.best)
        for published_loss, own_loss in pairs:
            cells += [
                number(loss) for loss in (published_loss, own_loss, own_loss - published_loss)
            ]
        rows.append([run.optimizer, run.schedule, run.clipping, f"{run.runs}", *cells])
    caption = "SVoice: validation loss (negative SI-SNR, dB) after the last epoch, and the best"
    return table(head, rows, caption, text_columns=3, kind="items")


def _validation_figures(runs: pd.DataFrame, epochs: pd.DataFrame) -> str:
    """Returns a figure for each published run of SVoice that there are runs for."""
    published_runs = dict(tuple(published.svoice().groupby(list(CHOICES), sort=False)))
    drawn = []
    for choices, members in runs.groupby(list(CHOICES), sort=False):
        has_epochs = members["experiment"].isin(epochs["experiment"]).any()
        if choices not in published_runs or not has_epochs:
            continue
        x, y = published_runs[choices]["epoch"], published_runs[choices]["valid_loss"]
        lines = [
            line("published", x, y, "--muted", dash="dot"),
            *traces(members, epochs, "valid_loss", style(runs), x="epoch"),
        ]
        caption = "Validation loss by epoch, of the published run and of each run here."
        title = " · ".join(choices)
        drawn.append(figure(title, caption, lines, "epoch", "validation loss (dB)", [], UNNAMED))
    return figures(*drawn)


# The set-up of the study, and the keys of configuration.yaml that hold the same settings here.
PUBLISHED_SPEECH = {
    "data": ("the eight mixtures (svoice_debug)", ["speech.name"]),
    "N, L, H, R": ("128, 8, 128, 6", ["svoice.N", "svoice.L", "svoice.H", "svoice.R"]),
    "epochs": ("100", ["svoice.epochs"]),
    "batch size, seconds of a segment": ("4, 4", ["svoice.batch_size", "svoice.segment_seconds"]),
    "padding of short segments in the loss": ("True (counted)", ["svoice.count_padding"]),
    "learning rate": ("0.0005", ["optimizer.svoice.lr"]),
    "precision": ("fp32", ["svoice.precision"]),
}
PUBLISHED_MUSIC = {
    "data": ("MUSDB18-HQ", ["music.name"]),
    "T, F": ("512, 1024", ["spleeter.T", "spleeter.F"]),
    "steps": ("100, Nesterov also 2000", ["spleeter.steps"]),
    "batch size": ("4 segments", ["spleeter.batch_size"]),
    "chunks of a song": ("40", ["spleeter.chunks_per_song"]),
    "learning rate": ("0.1; Adadelta 0.001", ["optimizer.spleeter.learning_rate"]),
    "seed": ("4", ["seed"]),
}


def _setups(
    experiments: Sequence[Experiment],
    runs: pd.DataFrame,
    published_setup: dict[str, tuple[str, list[str]]],
) -> str:
    """Returns the table of the set-ups: the data, the settings and the machines of the study, and
    of the trained runs of a model here."""
    trained = set(runs[runs["status"].isin([COMPLETED, DIVERGED])]["experiment"])
    workspaces = [experiment.workspace for experiment in experiments if experiment.name in trained]

    def distinct(values: Iterable[object]) -> str:
        return "; ".join(sorted({str(value) for value in values if value})) or UNDEFINED

    def setting(workspace: Workspace, keys: list[str]) -> str:
        return ", ".join(str(value_at(workspace.params, key)) for key in keys)

    rows = [
        [name, published_value, distinct(setting(workspace, keys) for workspace in workspaces)]
        for name, (published_value, keys) in published_setup.items()
    ]
    models = [getattr(workspace, runs["model"].iloc[0]) for workspace in workspaces]
    hardware = distinct((model.train or {}).get("hardware") for model in models)
    rows.append(["hardware", "see above", hardware])
    libraries = distinct(library(model.environment) for model in models)
    rows.append(["library", "not published", libraries])
    return table(["", "published", "here"], rows, "The set-ups", text_columns=3, kind="wide")
