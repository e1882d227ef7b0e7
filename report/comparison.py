"""The page about several experiments."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from contract.models import MODELS
from contract.records import COMPLETED, DIVERGED
from report import (
    against,
    answer,
    health,
    listen,
    methods,
    overlay,
    papers,
    provenance,
    ranking,
    speed,
)
from report import tuning as tuning_sections
from report.colors import sheet, style
from report.experiments import Experiment, curves, seeds_in_words, summary, variant_of
from report.labels import short
from report.markup import plural
from report.page import assemble
from report.tuning import Tuning, counted

STROKES = {  # an SVG line's dashes, by plotly's names
    "solid": "none",
    "dash": "7 4",
    "dot": "2 3",
    "dashdot": "7 3 2 3",
    "longdash": "11 4",
    "longdashdot": "11 3 2 3",
}


def compare(
    experiments: Sequence[Experiment],
    baseline: str | None = None,
    tuning: Tuning | None = None,
) -> str:
    """Returns one self-contained HTML page about several experiments.

    Args:
        experiments: in the order of the page.
        baseline: the name of the experiment whose variant the others are compared with; None for
            the first one.
        tuning: how their settings were tuned, if they were. Then only its `finals` are compared,
            under the names of their variants there.

    Raises:
        InputError: no experiment has the name, or none is in `finals`.
    """
    runs = summary(experiments)
    if tuning:
        runs = counted(runs, tuning)
        names = set(runs["experiment"])
        experiments = [experiment for experiment in experiments if experiment.name in names]
    unit = tuning.unit if tuning else "seed"
    not_studied = _not_studied(runs)
    runs = runs[~runs["model"].isin(not_studied)]
    steps, epochs = curves(experiments, "steps"), curves(experiments, "epochs")
    reference = variant_of(runs, baseline)
    tuned = {}
    if tuning:
        tuned = {
            "tuning": ("How it was tuned", tuning_sections.render(tuning, runs)),
            "sensitivity": ("How sensitive is it?", tuning_sections.sensitivity(tuning, runs)),
        }
    sections = {
        "which": ("Which should I use?", ranking.render(runs, reference, unit)),
        "speed": ("How soon?", speed.render(runs, steps, epochs, reference, unit)),
        **tuned,
        "curves": ("The curves", overlay.render(runs, steps, epochs)),
        "study": ("Against the study", against.compare(experiments, runs, steps, epochs)),
        "health": ("Health", health.compare(experiments, runs, steps)),
        "listen": ("Listen", listen.compare(experiments, runs, reference)),
        "provenance": ("Provenance", provenance.compare(experiments)),
        "papers": ("For papers", papers.render(methods.text(experiments, runs, reference, tuning))),
    }
    title = f"{plural(len(experiments), 'experiment')} compared"
    heading = (
        '<p class="eyebrow">Source separation: optimizer, schedule and clipping</p>'
        f"<h1>{title}</h1>"
        + "".join(
            f'<p class="answer">{escape(answer.sentence(MODELS[key], own_runs, unit))}</p>'
            for key, own_runs in runs.groupby("model", sort=False)
        )
        + f'<p class="lede">{plural(runs["variant"].nunique(), "variant")}, each with '
        f"{seeds_in_words(runs)}{_tuned(tuning)}; the baseline is <em>{escape(reference)}</em>."
        + "".join(f" {MODELS[model].title} was not studied." for model in not_studied)
        + "</p>"
    )
    return assemble(title, heading, sections, _variants(runs), sheet(runs))


def _tuned(tuning: Tuning | None) -> str:
    """Returns how the variants were tuned, as a part of a sentence; empty if they were not."""
    if not tuning:
        return ""
    trials = f", after tuning with {plural(tuning.trials_each, 'trial')}"
    if tuning.repetitions == 1:
        return trials
    return f"{trials} in each of {tuning.repetitions} repetitions"


def _not_studied(runs: pd.DataFrame) -> list[str]:
    """Returns the models of which there is nothing to compare, while there is of another.

    A study of one model never trains the other, or once with the baseline.
    """
    trained = runs["status"].isin([COMPLETED, DIVERGED]).groupby(runs["model"]).sum()
    return [model for model, count in trained.items() if count < min(2, trained.max())]


def _variants(runs: pd.DataFrame) -> str:
    """Returns the legend of all figures, whose entries show and hide a variant in all of them."""
    looks = style(runs)
    labels = short(looks)
    entries = "".join(
        f'<button type="button" aria-pressed="true" value="{escape(variant)}" '
        f'title="{escape(variant)}">'
        '<svg viewBox="0 0 28 8" aria-hidden="true"><line x1="0" y1="4" x2="28" y2="4" '
        f'stroke="var({look["color"]})" stroke-dasharray="{STROKES[look["dash"]]}"/></svg>'
        f"{escape(labels[variant])}</button>"
        for variant, look in looks.items()
    )
    return f'<div class="variants" role="group" aria-label="Variants shown">{entries}</div>'
