"""Experiments side by side: one tidy frame of what they are and came to, one of their curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from metrics.errors import InputError
from metrics.report.results import EPOCH_COLUMNS, STEP_COLUMNS, Workspace

CHOICES = ("optimizer", "schedule", "clipping")


@dataclass(frozen=True)
class Experiment:
    """What one experiment left. Files that it has not are `None` in its workspace."""

    name: str
    commit: str  # empty: of none, it is the workspace
    workspace: Workspace
    state: str = "done"  # or where DVC's queue has it: queued, running, failed
    log: str = ""  # the last lines of one that failed


def summary(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """One row per experiment × model: `experiment, commit, model, optimizer, schedule, clipping,
    seed, variant` (`variants`), `status` (that of train.json; `missing` without one; `queued`,
    `running` or `failed` in DVC's queue), `steps,
    best_valid_loss, final_loss, seconds_per_step`, `score` (dB: SDR of Spleeter, SI-SNR improvement
    of SVoice; None if there is none).
    """
    labels = variants([experiment.workspace.params for experiment in experiments])
    rows = []
    for experiment, variant in zip(experiments, labels, strict=True):
        params = experiment.workspace.params
        for model in experiment.workspace.models:
            train = model.train or {}
            rows.append(
                {
                    "experiment": experiment.name,
                    "commit": experiment.commit,
                    "model": model.key,
                    **{choice: params.get(choice, {}).get("name") for choice in CHOICES},
                    "seed": params.get("seed"),
                    "variant": variant,
                    "status": _status(experiment, train),
                    **{
                        key: train.get(key)
                        for key in ("steps", "best_valid_loss", "final_loss", "seconds_per_step")
                    },
                    "score": _score(model),
                }
            )
    return pd.DataFrame(rows)


def _status(experiment: Experiment, train: dict) -> str:
    if experiment.state != "done":
        return experiment.state
    return train.get("status", "missing")


def _score(model) -> float | None:
    aggregate = model.aggregate or {}
    if model.key == "spleeter":
        return aggregate.get("SDR", {}).get("mean")
    return aggregate.get("si_snr_improvement")


def variant_of(summary: pd.DataFrame, name: str | None) -> str:
    """The variant of the experiment `name`, or of the first.

    Raises: `InputError` for a name that is not among them.
    """
    named = dict(zip(summary["experiment"], summary["variant"], strict=True))
    if name is None:
        return summary["variant"].iloc[0]
    if name not in named:
        raise InputError("BASELINE", repr(name), f"one of {', '.join(named)}")
    return named[name]


def curves(experiments: Sequence[Experiment], name: str) -> pd.DataFrame:
    """The rows of `steps` or `epochs` of all experiments, with `experiment` and `model` before."""
    frames = [
        frame.assign(experiment=experiment.name, model=model.key)
        for experiment in experiments
        for model in experiment.workspace.models
        if (frame := getattr(model, name)) is not None and len(frame)
    ]
    if not frames:
        columns = {"steps": STEP_COLUMNS, "epochs": EPOCH_COLUMNS}[name]
        return pd.DataFrame(columns=["experiment", "model", *columns])
    whole = pd.concat(frames, ignore_index=True)
    return whole[["experiment", "model", *whole.columns.drop(["experiment", "model"])]]


def variants(params: Sequence[dict]) -> list[str]:
    """A label for each configuration, of what differs between them: optimizer, schedule and
    clipping by name, other keys as `key=value`. The seed and where it ran make no other variant."""
    flat = [_flat(values) for values in params]
    keys = sorted({key for values in flat for key in values} - {"seed"})
    keys = [key for key in keys if not key.startswith("runtime.")]
    differing = [key for key in keys if len({str(values.get(key)) for values in flat}) > 1]
    named = [choice for choice in CHOICES if f"{choice}.name" in differing]
    # What a group holds follows from its name, unless the name alone does not tell them apart.
    others = [
        key
        for key in differing
        if not key.endswith(".name")
        and not _follows(flat, key, [f"{choice}.name" for choice in CHOICES])
    ]
    labels = []
    for values in flat:
        parts = [str(values.get(f"{choice}.name")) for choice in named]
        parts += [f"{key}={values[key]}" for key in others if key in values]
        labels.append(" · ".join(parts) or str(values.get("optimizer.name")))
    return labels


def _follows(flat: list[dict], key: str, names: list[str]) -> bool:
    """Whether a key's value is the same in all configurations with the same names."""
    seen = {}
    return all(
        seen.setdefault(tuple(values.get(name) for name in names), values.get(key))
        == values.get(key)
        for values in flat
    )


def _flat(values: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
