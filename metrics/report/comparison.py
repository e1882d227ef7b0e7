"""The page about several experiments: which, how soon, the curves, the study, and their health."""

from collections.abc import Sequence
from html import escape

import pandas as pd

from metrics.experiments import Experiment, curves, summary, variant_of
from metrics.report import against, health, listen, overlay, provenance, ranking, speed
from metrics.report.colors import sheet, style
from metrics.report.labels import short
from metrics.report.markup import plural
from metrics.report.page import assemble

STROKES = {  # of an SVG line, by plotly's names
    "solid": "none",
    "dash": "7 4",
    "dot": "2 3",
    "dashdot": "7 3 2 3",
    "longdash": "11 4",
    "longdashdot": "11 3 2 3",
}


def compare(experiments: Sequence[Experiment], baseline: str | None = None) -> str:
    """One self-contained HTML page.

    Args:
        baseline: the name of the experiment whose variant the others are compared with; the first
            one's if None.

    Raises: `InputError` for a baseline that is not among them.
    """
    runs = summary(experiments)
    untrained = _untrained(runs)
    runs = runs[~runs["model"].isin(untrained)]
    steps, epochs = curves(experiments, "steps"), curves(experiments, "epochs")
    reference = variant_of(runs, baseline)
    sections = {
        "which": ("Which should I use?", ranking.render(runs, reference)),
        "speed": ("How soon?", speed.render(runs, steps, epochs, reference)),
        "curves": ("The curves", overlay.render(runs, steps, epochs)),
        "study": ("Against the study", against.compare(experiments, runs, steps, epochs)),
        "health": ("Health", health.compare(experiments, runs, steps)),
        "listen": ("Listen", listen.compare(experiments, runs, reference)),
        "provenance": ("Provenance", provenance.compare(experiments)),
    }
    count = runs["variant"].nunique()
    seeds = runs.groupby(["model", "variant"])["seed"].nunique()
    many = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    heading = (
        '<p class="eyebrow">Source separation: optimizer, schedule and clipping</p>'
        f"<h1>{plural(len(experiments), 'experiment')} compared</h1>"
        f'<p class="lede">{plural(count, "variant")}, each with {many} '
        f"seed{'' if many == '1' else 's'}; the baseline is <em>{escape(reference)}</em>."
        + "".join(f" {ranking.TITLES[model]} was not studied." for model in untrained)
        + "</p>"
    )
    title = f"{plural(len(experiments), 'experiment')} compared"
    return assemble(title, heading, sections, _variants(runs), sheet(runs))


def _untrained(runs: pd.DataFrame) -> list[str]:
    """Models of which there is nothing to compare, where there is of another: a study of one model
    trains the other never, or once with the baseline."""
    trained = runs["status"].isin(["completed", "diverged"]).groupby(runs["model"]).sum()
    return [model for model, count in trained.items() if count < min(2, trained.max())]


def _variants(runs: pd.DataFrame) -> str:
    """The legend of all figures, whose entries show and hide a variant in all of them."""
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
