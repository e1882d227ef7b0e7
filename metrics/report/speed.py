"""How soon each variant gets there: time to target losses, and performance profiles over them."""

from html import escape

import numpy as np
import pandas as pd

from metrics.report.colors import style
from metrics.report.figure import figure, line
from metrics.report.labels import short
from metrics.report.markup import UNDEFINED, download, notice, number, significant, table
from metrics.report.overlay import UNNAMED
from metrics.report.ranking import TITLES
from metrics.statistics import performance_profile, time_to_target

MARGIN = (
    "Steps and seconds until the validation loss first came down to a target. The targets are the "
    "losses that the baseline had reached after each tenth of its steps."
)
TARGETS = 10
FACTORS = np.geomspace(1, 10, 200)
UNITS = {"step": "steps", "elapsed": "seconds of training"}


def render(
    summary: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame, baseline: str
) -> tuple[str, str]:
    """summary, steps, epochs: of `metrics.experiments`; baseline: a variant."""
    return MARGIN, "".join(
        f"<h3>{TITLES[model]}</h3>{_model(runs, steps, epochs, baseline)}"
        for model, runs in summary.groupby("model", sort=False)
    )


def times(
    runs: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame, baseline: str
) -> tuple[np.ndarray, pd.DataFrame]:
    """The targets, from the easiest to the baseline's best loss, and when they were reached: one
    row per variant × unit (`step`, `elapsed` in s) × target, `variant, unit, target, time`: the
    median over the variant's runs of one model, infinite where it was not reached.
    """
    curves = {run.experiment: _validations(run, steps, epochs) for run in runs.itertuples()}
    found = targets([curves[name] for name in runs[runs["variant"] == baseline]["experiment"]])
    rows = []
    for variant, members in runs.groupby("variant", sort=False):
        for unit in UNITS:
            for target in found:
                reached = [
                    time_to_target(curves[name][unit], curves[name]["valid_loss"], target)
                    for name in members["experiment"]
                ]
                rows.append((variant, unit, target, float(np.median(reached))))
    return found, pd.DataFrame(rows, columns=["variant", "unit", "target", "time"])


def targets(baselines: list[pd.DataFrame]) -> np.ndarray:
    """The best losses that the baseline's runs, on average, had reached after each tenth of their
    steps, the largest first."""
    reached = []
    for curve in baselines:
        best = curve["valid_loss"].cummin()
        ends = curve["step"].max() * np.arange(1, TARGETS + 1) / TARGETS if len(curve) else []
        reached.append([best[curve["step"] <= end].min() for end in ends])
    reached = [losses for losses in reached if np.isfinite(losses).any()]
    if not reached:
        return np.empty(0)
    means = pd.DataFrame(reached, dtype=float).mean()  # of those that there are
    return np.unique(means[np.isfinite(means)])[::-1]


def _validations(run, steps: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """A run's `step, elapsed` (s of its steps until then), `valid_loss`."""

    def own(frame):
        return frame[(frame["experiment"] == run.experiment) & (frame["model"] == run.model)]

    seconds, validations = own(steps), own(epochs)
    if validations.empty:
        return pd.DataFrame({"step": [], "elapsed": [], "valid_loss": []})
    if seconds.empty:  # steps.csv is missing
        return validations[["step", "valid_loss"]].assign(elapsed=np.inf).reset_index(drop=True)
    # Of steps that were not logged, each took what the next one did that was.
    taken = seconds["seconds"] * seconds["step"].diff().fillna(seconds["step"])
    elapsed = np.interp(validations["step"], seconds["step"], taken.cumsum())
    found = validations[["step", "valid_loss"]].assign(elapsed=elapsed)
    return found.reset_index(drop=True)


def _model(runs: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame, baseline: str) -> str:
    found, reached = times(runs, steps, epochs, baseline)
    if not found.size:
        return notice(f"No targets: the baseline, {escape(baseline)}, has no validation loss.")
    half, last = found[len(found) // 2], found[-1]
    head = ["variant"]
    for target in (half, last):
        head += [f"steps to {significant(target)}", f"seconds to {significant(target)}"]
    rows = []
    for variant, times_of in reached.groupby("variant", sort=False):
        by = times_of.set_index(["unit", "target"])["time"]
        cells = [by[unit, target] for target in (half, last) for unit in UNITS]
        rows.append([variant, *(number(c, 0) if np.isfinite(c) else UNDEFINED for c in cells)])
    figures = "".join(_profile(reached, runs, unit) for unit in UNITS)
    return (
        table(head, rows, "When half of the targets and when all were reached", kind="wide")
        + download(f"{runs['model'].iloc[0]}_times.csv", reached)
        + f'<div class="figures">{figures}</div>'
    )


def _profile(reached: pd.DataFrame, runs: pd.DataFrame, unit: str) -> str:
    wide = reached[reached["unit"] == unit].pivot(index="variant", columns="target", values="time")
    shares = performance_profile(wide.to_numpy(), FACTORS)
    looks = style(runs)
    labels = short(looks)
    label = f"times the {UNITS[unit]} of the fastest"
    return figure(
        f"Targets reached, by {UNITS[unit]}",
        "The share of targets that a variant reached within so many times the fastest one's time.",
        [
            line(labels[variant], FACTORS, share, shape="hv", **looks[variant]).update(
                legendgroup=variant
            )
            for variant, share in zip(wide.index, shares, strict=True)
        ],
        label,
        "share of the targets",
        [],
        {**UNNAMED, "xaxis": {"type": "log", "title": {"text": label}}},
    )
