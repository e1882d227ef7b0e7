"""The section about how soon each variant gets there: time to target losses, performance profiles
over the targets, and AlgoPerf's score."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from contract.models import MODELS
from contract.records import COMPLETED
from report.colors import style
from report.figure import figure, figures, line
from report.labels import short
from report.markup import UNDEFINED, download, notice, number, significant, table
from report.overlay import UNNAMED
from report.statistics import LIMIT, performance_profile, profile_score, time_to_target

MARGIN = (
    "Steps and seconds until the validation loss first reached a target. The targets are the "
    "losses that the baseline had reached after each tenth of its steps. AlgoPerf's score has one "
    "target per model."
)
TARGETS = 10
FACTORS = np.geomspace(1, 10, 200)  # multiples of the fastest variant's time
UNITS = {"step": "steps", "elapsed": "seconds of training"}


def render(
    summary: pd.DataFrame,
    steps: pd.DataFrame,
    epochs: pd.DataFrame,
    baseline: str,
    unit: str = "seed",
) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        summary: as `report.experiments.summary` returns it.
        steps: as `report.experiments.curves` returns them.
        epochs: as `report.experiments.curves` returns them.
        baseline: the variant that sets the targets.
        unit: as for `report.ranking.by_unit`.
    """
    models = "".join(
        f"<h3>{MODELS[key].title}</h3>{_model(runs, steps, epochs, baseline)}"
        for key, runs in summary.groupby("model", sort=False)
    )
    return MARGIN, models + _algoperf(summary, steps, epochs, baseline, unit)


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
    curves = _curves(runs, steps, epochs)
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


def final_targets(
    summary: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame, baseline: str
) -> dict[str, float]:
    """Returns the validation loss of each model that AlgoPerf's score is about.

    It is the lowest one that every run of the baseline reached, so that the baseline reaches it
    with each seed. Runs that diverged, which stop early, do not count.

    Args:
        summary: as `report.experiments.summary` returns it.
        steps: as `report.experiments.curves` returns them.
        epochs: as `report.experiments.curves` returns them.
        baseline: the variant that sets the targets.

    Returns:
        By the key of the model; without models of which no run of the baseline has a loss.
    """
    own = summary[(summary["variant"] == baseline) & (summary["status"] == COMPLETED)]
    chosen = {}
    for key, runs in own.groupby("model", sort=False):
        losses = [curve["valid_loss"].min() for curve in _curves(runs, steps, epochs).values()]
        finite = [loss for loss in losses if np.isfinite(loss)]
        if finite:
            chosen[key] = max(finite)
    return chosen


def workload_times(
    summary: pd.DataFrame,
    steps: pd.DataFrame,
    epochs: pd.DataFrame,
    losses: Mapping[str, float],
    unit: str = "seed",
) -> pd.DataFrame:
    """Returns when each variant reached the targets of the workloads: models × seeds.

    Args:
        summary: as `report.experiments.summary` returns it.
        steps: as `report.experiments.curves` returns them.
        epochs: as `report.experiments.curves` returns them.
        losses: the targets, as from `final_targets`.
        unit: as for `report.ranking.by_unit`. If it is the repetition of the tuning, the time of a
            workload is the median over its seeds, as in AlgoPerf over its studies.

    Returns:
        One row per variant × model × unit, `variant, model, workload` (the seed or the repetition),
        `step, elapsed` (s): infinite where the target was not reached, or where a variant that has
        other runs has none of the workload.
    """
    rows = []
    for key, target in losses.items():
        runs = summary[summary["model"] == key]
        curves = _curves(runs, steps, epochs)
        for run in runs.itertuples():
            curve = curves[run.experiment]
            reached = {
                clock: time_to_target(curve[clock], curve["valid_loss"], target) for clock in UNITS
            }
            workload = {"model": key, "workload": getattr(run, unit)}
            rows.append({"variant": run.variant, **workload, **reached})
    keys = ["model", "workload"]
    times_of_runs = pd.DataFrame(rows, columns=["variant", *keys, *UNITS])
    medians = times_of_runs.groupby(["variant", *keys], sort=False, dropna=False).median()
    wide = medians.unstack("variant", fill_value=np.inf)
    return wide.stack("variant", future_stack=True).reset_index()[["variant", *keys, *UNITS]]


def algoperf(reached: pd.DataFrame) -> pd.DataFrame:
    """Returns AlgoPerf's score of each variant (`report.statistics.profile_score`).

    Args:
        reached: as from `workload_times`.

    Returns:
        One row per variant, the best by steps first: `variant`; `step` and `elapsed`, its scores
        from 0 to 1 (NaN if no variant reached any target); `reached`, the number of workloads whose
        target it reached; `workloads`, how many there are.
    """
    table_of = {
        clock: reached.pivot(index="variant", columns=["model", "workload"], values=clock)
        for clock in UNITS
    }
    scored = pd.DataFrame(index=table_of["step"].index)
    for clock, times_by_workload in table_of.items():
        by_workload = times_by_workload.to_numpy(dtype=np.float64)
        known = np.isfinite(by_workload).any()
        scored[clock] = profile_score(by_workload) if known else np.nan
    scored["reached"] = np.isfinite(table_of["step"].to_numpy()).sum(axis=1)
    scored["workloads"] = table_of["step"].shape[1]
    return scored.sort_values("step", ascending=False, kind="stable").reset_index()


def _algoperf(
    summary: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame, baseline: str, unit: str
) -> str:
    """Returns the part of the section about AlgoPerf's score, over all models."""
    losses = final_targets(summary, steps, epochs, baseline)
    if not losses:
        return ""
    reached = workload_times(summary, steps, epochs, losses, unit)
    scored = algoperf(reached)
    stated = " and ".join(
        f"{significant(loss)}{' ' * bool(MODELS[key].loss_unit)}{MODELS[key].loss_unit} "
        f"({MODELS[key].title})"
        for key, loss in losses.items()
    )
    text = (
        f"The workloads are the models × {unit}s. A variant reaches a workload's target when its "
        f"validation loss is at most {stated}, the lowest that every completed run of {baseline} "
        f"reached. The score is the integral of the performance profile up to {LIMIT:g} times the "
        "fastest variant's time: 1 for a variant that is the fastest on every workload, 0 for one "
        "that reaches no target in that time. A workload of which a variant has no run counts as "
        "missed (Dahl et al. 2023)."
    )
    head = ["variant", "score by steps", "score by seconds", "targets reached"]
    rows = [
        [
            row.variant,
            number(row.step, 3),
            number(row.elapsed, 3),
            f"{row.reached} of {row.workloads}",
        ]
        for row in scored.itertuples()
    ]
    return (
        "<h3>AlgoPerf's score</h3>"
        + notice(escape(text))
        + table(head, rows, "AlgoPerf's score, the best by steps first", kind="wide")
        + download("algoperf_score.csv", scored)
        + download("algoperf_times.csv", reached)
    )


def _curves(
    runs: pd.DataFrame, steps: pd.DataFrame, epochs: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Returns the validations of each run of one model, by experiment.

    Returns:
        Frames of `step, elapsed` (s of training until then), `valid_loss`.
    """
    keys = ["experiment", "model"]
    by_run = [dict(tuple(frame.groupby(keys, sort=False))) for frame in (steps, epochs)]
    return {
        run.experiment: _validations(
            *(frames.get((run.experiment, run.model)) for frames in by_run)
        )
        for run in runs.itertuples()
    }


def _validations(logged: pd.DataFrame | None, validations: pd.DataFrame | None) -> pd.DataFrame:
    """Returns the validations of a run: `step, elapsed` (s of training until then), `valid_loss`.

    Args:
        logged: the rows of its steps.csv; None if there are none.
        validations: the rows of its epochs.csv; None if there are none.
    """
    if validations is None:
        return pd.DataFrame({"step": [], "elapsed": [], "valid_loss": []})
    if logged is None:  # steps.csv is missing
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
