"""The section about how soon each variant gets there: time to target losses, and performance
profiles over the targets."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd

from contract.models import MODELS
from report.colors import style
from report.figure import figure, figures, line
from report.labels import short
from report.markup import UNDEFINED, download, notice, number, significant, table
from report.overlay import UNNAMED
from report.statistics import performance_profile, time_to_target

MARGIN = (
    "Steps and seconds until the validation loss first reached a target. The targets are the "
    "losses that the baseline had reached after each tenth of its steps."
)
TARGETS = 10
FACTORS = np.geomspace(1, 10, 200)  # multiples of the fastest variant's time
UNITS = {"step": "steps", "elapsed": "seconds of training"}


def render(
    summary: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame, baseline: str
) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        summary: as `report.experiments.summary` returns it.
        steps: as `report.experiments.curves` returns them.
        epochs: as `report.experiments.curves` returns them.
        baseline: the variant that sets the targets.
    """
    return MARGIN, "".join(
        f"<h3>{MODELS[key].title}</h3>{_model(runs, steps, epochs, baseline)}"
        for key, runs in summary.groupby("model", sort=False)
    )


def times(
    runs: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame, baseline: str
) -> tuple[np.ndarray, pd.DataFrame]:
    """Returns the targets of one model, and when its variants reached them.

    Args:
        runs: the runs of the model, as `report.experiments.summary` returns them.
        steps: as `report.experiments.curves` returns them.
        epochs: as `report.experiments.curves` returns them.
        baseline: the variant that sets the targets.

    Returns:
        The targets `(targets,)`, from the easiest to the baseline's best loss; and one row per
        variant × unit × target, `variant, unit` (`step`, or `elapsed` in s), `target, time`. The
        time is the median over the runs of the variant, infinite where a target was not reached.
    """
    curves = {run.experiment: _validations(run, steps, epochs) for run in runs.itertuples()}
    losses = targets([curves[name] for name in runs[runs["variant"] == baseline]["experiment"]])
    rows = []
    for variant, members in runs.groupby("variant", sort=False):
        for unit in UNITS:
            for target in losses:
                reached = [
                    time_to_target(curves[name][unit], curves[name]["valid_loss"], target)
                    for name in members["experiment"]
                ]
                rows.append((variant, unit, target, float(np.median(reached))))
    return losses, pd.DataFrame(rows, columns=["variant", "unit", "target", "time"])


def targets(baselines: list[pd.DataFrame]) -> np.ndarray:
    """Returns the best losses that the baseline had reached after each tenth of its steps.

    Args:
        baselines: the validations of each of its runs, `step, valid_loss`.

    Returns:
        `(targets,)`, means over the runs, the largest first.
    """
    best_losses = []
    for curve in baselines:
        best = curve["valid_loss"].cummin()
        ends = curve["step"].max() * np.arange(1, TARGETS + 1) / TARGETS if len(curve) else []
        best_losses.append([best[curve["step"] <= end].min() for end in ends])
    best_losses = [losses for losses in best_losses if np.isfinite(losses).any()]
    if not best_losses:
        return np.empty(0)
    means = pd.DataFrame(best_losses, dtype=float).mean()  # over the runs that have a loss
    return np.unique(means[np.isfinite(means)])[::-1]


def _validations(run: Any, steps: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Returns the validations of a run: `step, elapsed` (s of training until then), `valid_loss`.

    Args:
        run: a row of `report.experiments.summary`.
        steps: as `report.experiments.curves` returns them.
        epochs: as `report.experiments.curves` returns them.
    """

    def of_run(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame["experiment"] == run.experiment) & (frame["model"] == run.model)]

    logged, validations = of_run(steps), of_run(epochs)
    if validations.empty:
        return pd.DataFrame({"step": [], "elapsed": [], "valid_loss": []})
    if logged.empty:  # steps.csv is missing
        return validations[["step", "valid_loss"]].assign(elapsed=np.inf).reset_index(drop=True)
    # A step that was not logged counts as long as the next one that was.
    seconds = logged["seconds"] * logged["step"].diff().fillna(logged["step"])
    elapsed = np.interp(validations["step"], logged["step"], seconds.cumsum())
    return validations[["step", "valid_loss"]].assign(elapsed=elapsed).reset_index(drop=True)


def _model(runs: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame, baseline: str) -> str:
    """Returns the part of the section about one model."""
    losses, reached = times(runs, steps, epochs, baseline)
    if not losses.size:
        return notice(f"No targets: the baseline, {escape(baseline)}, has no validation loss.")
    half, last = losses[len(losses) // 2], losses[-1]
    head = ["variant"]
    for target in (half, last):
        head += [f"steps to {significant(target)}", f"seconds to {significant(target)}"]
    rows = []
    for variant, variant_times in reached.groupby("variant", sort=False):
        by_target = variant_times.set_index(["unit", "target"])["time"]
        cells = [by_target[unit, target] for target in (half, last) for unit in UNITS]
        rows.append(
            [variant, *(number(cell, 0) if np.isfinite(cell) else UNDEFINED for cell in cells)]
        )
    return (
        table(head, rows, "When half of the targets, and when all, were reached", kind="wide")
        + download(f"{runs['model'].iloc[0]}_times.csv", reached)
        + figures(*(_profile(reached, runs, unit) for unit in UNITS))
    )


def _profile(reached: pd.DataFrame, runs: pd.DataFrame, unit: str) -> str:
    """Returns the figure of the performance profiles.

    Args:
        reached: as from `times`.
        runs: the runs of the model.
        unit: a key of `UNITS`.
    """
    by_variant = reached[reached["unit"] == unit].pivot(
        index="variant", columns="target", values="time"
    )
    shares = performance_profile(by_variant.to_numpy(), FACTORS)
    looks = style(runs)
    labels = short(looks)
    label = f"{UNITS[unit]}, as a multiple of the fastest variant's"
    return figure(
        f"Targets reached, by {UNITS[unit]}",
        "The share of the targets that a variant reached within a multiple of the fastest "
        "variant's time.",
        [
            line(labels[variant], FACTORS, share, shape="hv", **looks[variant]).update(
                legendgroup=variant
            )
            for variant, share in zip(by_variant.index, shares, strict=True)
        ],
        label,
        "share of the targets",
        [],
        {**UNNAMED, "xaxis": {"type": "log", "title": {"text": label}}},
    )
