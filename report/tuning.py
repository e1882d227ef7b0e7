"""The sections about how the variants were tuned, and how sensitive they are to it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import kendalltau

from contract.errors import InputError
from contract.menu import LEARNING_RATE, OPTIMIZERS
from contract.models import MODELS, Model
from contract.records import COMPLETED, DIVERGED
from report.colors import style
from report.figure import figure, figures, log_tick
from report.labels import short
from report.markup import UNDEFINED, download, notice, number, plural, significant, table
from report.overlay import UNNAMED
from report.ranking import LOWER_IS_BETTER, MEASURES, by_unit

TUNED = (
    "The space that each variant's settings were searched in, and the point that was chosen for "
    "each model: that of the completed trial with the lowest validation loss. All variants have "
    "the same number of trials, and the same points of the unit cube. A trial that diverged counts "
    "as one. A choice is at the edge of its space if its distance from the edge is at most 5 % of "
    "the axis: better values may lie outside."
)
SENSITIVE = (
    "The result of every trial over its learning rate; its other settings vary as well. A cross is "
    "a trial that diverged. Where a trial has no result, its mark lies at the worst value of the "
    "figure. In the table, a trial without a result counts as the worst."
)
EDGE = 0.05  # of an axis
RATE = LEARNING_RATE.name


class Axis(NamedTuple):
    """The range of a setting that tuning searches.

    `scale` says in which measure the points lie evenly: `log`, `linear`, or `one_minus_log`, the
    logarithm of what is missing to 1, as for momenta.
    """

    low: float
    high: float
    scale: str


@dataclass(frozen=True)
class Tuning:
    """How the variants of a study were tuned.

    Attributes:
        spaces: by variant and setting, what was searched.
        trials: one row per model × variant × repetition × trial: `model, variant, repetition,
            trial, experiment, status, score` (dB), `best_valid_loss, chosen` (whether its settings
            are those of the runs that count), and a column for each searched setting, NaN where a
            variant does not have it.
        finals: the runs that count, one row each: `experiment, variant, repetition, seed`.
        trials_each: how many trials a variant has in a repetition.
        repetitions: how often the tuning was repeated from new points.
        seeds: how many runs of the chosen settings count in each repetition.
    """

    spaces: Mapping[str, Mapping[str, Axis]]
    trials: pd.DataFrame
    finals: pd.DataFrame
    trials_each: int
    repetitions: int
    seeds: int

    @property
    def unit(self) -> str:
        """What the statistics may treat as independent: `repetition`, or `seed` if there is one.

        The seeds of a repetition share the settings that it chose.
        """
        return "repetition" if self.repetitions > 1 else "seed"


MEASURE: dict[str, Callable[[float], float]] = {
    "log": math.log,
    "linear": float,
    "one_minus_log": lambda value: -math.log(1 - value),
}


def position(axis: Axis, value: float) -> float:
    """Returns where a value lies on an axis, from 0 at its low end to 1 at its high end.

    Args:
        axis: the axis.
        value: within it.
    """
    low, high, own = (MEASURE[axis.scale](number) for number in (axis.low, axis.high, value))
    return (own - low) / (high - low)


def edge(axis: Axis, value: float) -> str:
    """Returns `lower` or `upper` if a value lies at this end of its axis, and else nothing.

    Args:
        axis: the axis.
        value: within it.
    """
    at = position(axis, value)
    if at <= EDGE:
        return "lower"
    return "upper" if at >= 1 - EDGE else ""


def counted(summary: pd.DataFrame, tuning: Tuning) -> pd.DataFrame:
    """Returns the runs that count, under the names of their variants.

    Args:
        summary: as `report.experiments.summary` returns it.
        tuning: how they were tuned.

    Returns:
        The rows of `summary` whose experiment is in `tuning.finals`, with its `variant`,
        `repetition` and `seed`. They have no column for a setting: the label of a variant does not
        name what was tuned.

    Raises:
        InputError: no run counts.
    """
    finals = tuning.finals.set_index("experiment")
    runs = summary[summary["experiment"].isin(finals.index)]
    if runs.empty:
        remedy = "see the logs of its trials"
        raise InputError("the tuned study", "has no run of chosen settings to compare", remedy)
    runs = runs.drop(columns=[column for column in runs if "." in column])
    labels = finals.loc[runs["experiment"], ["variant", "repetition", "seed"]]
    return runs.assign(**{column: labels[column].to_numpy() for column in labels})


def taus(runs: pd.DataFrame) -> list[float]:
    """Returns Kendall's tau between the rankings of every two repetitions of the tuning.

    Source: Kendall, "A new measure of rank correlation", Biometrika 30, 1938; ties as in tau-b.

    Args:
        runs: the runs of one model, as from `counted`.

    Returns:
        One for each pair of repetitions, from -1 to 1, over the variants that have a score in both;
        NaN where these are fewer than two, or all tied.
    """
    scores = pd.DataFrame(by_unit(runs, "score", "repetition"))  # repetitions × variants
    pairs = itertools.combinations(scores.index, 2)
    agreements = []
    for first, second in pairs:
        both = scores.loc[[first, second]].dropna(axis=1)
        enough = both.shape[1] > 1
        agreements.append(float(kendalltau(*both.to_numpy()).statistic) if enough else math.nan)
    return agreements


def render(tuning: Tuning, runs: pd.DataFrame) -> tuple[str, str]:
    """Returns the text in the margin, and the HTML of the section about the tuning.

    Args:
        tuning: how the variants were tuned.
        runs: as from `counted`.
    """
    repeated = tuning.repetitions > 1
    again = f", and that {tuning.repetitions} times from new points" if repeated else ""
    text = (
        f"Each variant was tuned with {plural(tuning.trials_each, 'quasi-random trial')}{again}. "
        f"The chosen settings were then run with {plural(tuning.seeds, 'seed')}, and only these "
        "runs count."
    )
    head = ["variant", "setting", "scale", "from", "to"]
    rows = [
        [variant, setting, axis.scale.replace("_", " "), f"{axis.low:g}", f"{axis.high:g}"]
        for variant, space in tuning.spaces.items()
        for setting, axis in space.items()
    ]
    parts = [
        notice(escape(text)),
        table(head, rows, "The spaces that were searched", text_columns=3, kind="wide"),
        download("tuning_trials.csv", tuning.trials),
    ]
    for key in runs["model"].unique():
        trials = tuning.trials[tuning.trials["model"] == key]
        parts.append(f"<h3>{MODELS[key].title}</h3>")
        parts.append(_chosen(tuning, trials, MODELS[key]))
        if repeated:
            parts.append(notice(escape(_agreement(taus(runs[runs["model"] == key])))))
    return TUNED, "".join(parts)


def edges(tuning: Tuning, trial: Any) -> dict[str, str]:
    """Returns the settings of a trial that lie at an edge of their space, and which edge.

    Args:
        tuning: how the variants were tuned.
        trial: a row of its trials, as a mapping.
    """
    space = tuning.spaces.get(trial["variant"], {})
    ends = {
        setting: edge(axis, trial[setting])
        for setting, axis in space.items()
        if np.isfinite(trial[setting])
    }
    return {setting: end for setting, end in ends.items() if end}


def _chosen(tuning: Tuning, trials: pd.DataFrame, model: Model) -> str:
    """Returns the table of the choices for one model, and the warnings about them."""
    repeated = tuning.repetitions > 1
    head = ["variant", *(["repetition"] if repeated else []), "chosen settings", "at an edge"]
    head += ["trials", "chosen trial", model.with_loss_unit("validation loss")]
    rows, warnings = [], []
    for (variant, repetition), members in trials.groupby(["variant", "repetition"], sort=False):
        names = [variant, *([f"{repetition}"] if repeated else [])]
        choices = members[members["chosen"].astype(bool)].to_dict("records")
        if not choices:
            rows.append([*names, "none", "", _count(members), UNDEFINED, UNDEFINED])
        for choice in choices:
            at = edges(tuning, choice)
            settings = _settings(tuning, choice)
            ends = ", ".join(f"▲ {setting}: {end}" for setting, end in at.items())
            trial = f"{choice['trial']}{'' if choice['status'] == COMPLETED else ', diverged'}"
            loss = significant(choice["best_valid_loss"])
            rows.append([*names, settings, ends, _count(members), trial, loss])
            warnings += [(*names, setting, end, choice[setting]) for setting, end in at.items()]
    caption = f"{model.title}: what was chosen"
    parts = [table(head, rows, caption, text_columns=len(head) - 3, kind="items")]
    for variant, *repetition, setting, end, value in warnings:
        axis = tuning.spaces[variant][setting]
        of = f" (repetition {repetition[0]})" if repetition else ""
        text = (
            f"▲ {variant}{of}: the chosen {setting}, {value:.3g}, lies at the {end} edge of its "
            f"space, {axis.low:g} to {axis.high:g}. A better value may lie outside."
        )
        parts.append(notice(escape(text), alert=True))
    return "".join(parts)


def _count(trials: pd.DataFrame) -> str:
    """Returns how many trials there are and how many did not complete, as `6, 1 diverged`."""
    statuses = trials["status"].value_counts().drop(COMPLETED, errors="ignore")
    return ", ".join(
        [f"{len(trials)}", *(f"{count} {status}" for status, count in statuses.items())]
    )


def _settings(tuning: Tuning, trial: Mapping[str, Any]) -> str:
    """Returns the searched settings of a trial, as `learning_rate 0.003, beta1 0.9`."""
    return ", ".join(
        f"{setting} {trial[setting]:.3g}"
        for setting in tuning.spaces.get(trial["variant"], {})
        if np.isfinite(trial[setting])
    )


def _agreement(values: list[float]) -> str:
    """Returns a sentence about the agreement of the repetitions' rankings."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "The rankings of the repetitions have too few scores for Kendall's τ."
    average = number(float(np.mean(finite)))
    if len(finite) == 1:
        return f"The rankings of the two repetitions agree with Kendall's τ = {average}."
    return (
        f"The rankings of the repetitions agree with Kendall's τ = {average}, the mean over "
        f"{len(finite)} pairs of repetitions, from {number(min(finite))} to {number(max(finite))}."
    )


def sensitivity(tuning: Tuning, runs: pd.DataFrame) -> tuple[str, str]:
    """Returns the text in the margin, and the HTML of the section about sensitivity.

    Args:
        tuning: how the variants were tuned.
        runs: as from `counted`, for the colours of the page.
    """
    return SENSITIVE, "".join(
        f"<h3>{MODELS[key].title}</h3>"
        + _sensitivity(MODELS[key], tuning.trials[tuning.trials["model"] == key], style(runs))
        for key in runs["model"].unique()
    )


def spread(trials: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Returns the best, the median and the worst trial of each variant.

    Args:
        trials: of one model, as in `Tuning`.
        measure: `score` or `best_valid_loss`.

    Returns:
        One row per variant, in their order: `best, median, worst`. A trial without a finite value
        counts as the worst: infinite for a loss, and minus infinite for a score.
    """
    worst = np.inf if measure == LOWER_IS_BETTER else -np.inf
    values = trials[measure].astype(float)
    values = values.where(np.isfinite(values), worst)
    rows = {}
    for variant, members in values.groupby(trials["variant"], sort=False):
        ordered = np.sort(members.to_numpy())[:: 1 if measure == LOWER_IS_BETTER else -1]
        rows[variant] = {"best": ordered[0], "median": np.median(ordered), "worst": ordered[-1]}
    return pd.DataFrame.from_dict(rows, orient="index")


def _sensitivity(model: Model, trials: pd.DataFrame, looks: dict[str, dict[str, str]]) -> str:
    """Returns the figures and the table of one model."""
    names = (model.score, "Best validation loss")
    labels = (f"{model.score} (dB)", model.with_loss_unit("best validation loss"))
    head = ["variant", "trials"]
    drawn = []
    for measure, name, label in zip(MEASURES, names, labels, strict=True):
        head += [f"{label}: best", "median", "worst"]
        if marks := _marks(trials, measure, looks):
            rates = np.concatenate([np.asarray(mark.x, dtype=np.float64) for mark in marks])
            axis = {"type": "log", "dtick": log_tick(rates), "tickformat": "~g"}
            layout = {**UNNAMED, "xaxis": {**axis, "title": {"text": "learning rate"}}}
            title = f"{name} over the learning rate"
            drawn.append(figure(title, "All trials.", marks, "", label, [], layout))
    spreads = [spread(trials, measure) for measure in MEASURES]
    rows = []
    for variant, members in trials.groupby("variant", sort=False):
        values = [number(value) for each in spreads for value in each.loc[variant]]
        rows.append([variant, _count(members), *values])
    caption = f"{model.title}: the best, the median and the worst trial"
    return figures(*drawn) + table(head, rows, caption, kind="items")


def _marks(
    trials: pd.DataFrame, measure: str, looks: dict[str, dict[str, str]]
) -> list[go.Scatter]:
    """Returns the marks of all trials: a dot for each that completed, a cross for others.

    Args:
        trials: of one model.
        measure: the column of the vertical axis.
        looks: by variant, its colour and dashes.
    """
    values = trials[measure].astype(float)
    finite = values[np.isfinite(values)]
    if finite.empty or RATE not in trials:
        return []
    worst = finite.max() if measure == LOWER_IS_BETTER else finite.min()
    shown = trials.assign(value=values.where(np.isfinite(values), worst))
    shown = shown[np.isfinite(shown[RATE].astype(float))]
    labels = short(shown["variant"])
    traces = []
    for variant, members in shown.groupby("variant", sort=False):
        ended = members["status"] == COMPLETED
        for name, rows, symbol in (
            (labels[variant], members[ended], "circle"),
            (f"{labels[variant]}, diverged", members[members["status"] == DIVERGED], "x"),
        ):
            if len(rows):
                traces.append(
                    go.Scatter(
                        name=name,
                        x=rows[RATE].astype(float),
                        y=rows["value"],
                        mode="markers",
                        meta=_color(variant, looks),
                        legendgroup=variant,
                        marker={"size": 9, "symbol": symbol},
                        text=rows["experiment"],
                        hovertemplate="%{text}: %{x:.3g}, %{y:.5g}<extra></extra>",
                    )
                )
    return traces


def _color(variant: str, looks: dict[str, dict[str, str]]) -> str:
    """Returns the colour of a variant: that of its runs or, if none counts, of its optimizer."""
    if variant in looks:
        return looks[variant]["color"]
    optimizer = variant.partition(" · ")[0]
    return f"--{optimizer}" if optimizer in OPTIMIZERS else "--muted"
