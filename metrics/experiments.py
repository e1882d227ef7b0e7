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
    implied: dict | None = None  # by its choices' names alone (`metrics.choices`); None: not known


def summary(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """One row per experiment × model: `experiment, commit, model, optimizer, schedule, clipping,
    seed, variant` (`variants`), `status` (that of train.json; `missing` without one; `queued`,
    `running` or `failed` in DVC's queue), `steps,
    best_valid_loss, final_loss, seconds_per_step`, `score` (dB: SDR of Spleeter, SI-SNR improvement
    of SVoice; None if there is none), and of each setting that a variant's label names its value,
    under its key, as `optimizer.svoice.lr`.
    """
    configurations = [experiment.workspace.params for experiment in experiments]
    implied = [experiment.implied for experiment in experiments]
    labels = variants(configurations, implied)
    settings = sorted({key for own in _settings(configurations, implied) for key in own})
    rows = []
    for experiment, variant in zip(experiments, labels, strict=True):
        params = experiment.workspace.params
        flat = _flat(params)
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
                    **{key: flat.get(key) for key in settings},
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


def variants(params: Sequence[dict], implied: Sequence[dict | None] = ()) -> list[str]:
    """A label for each configuration, of what differs between them: optimizer, schedule and
    clipping by name, other groups and keys as `key=value`. The seed and where it ran make no other
    variant.

    Args:
        implied: of each configuration, what the names in it imply by themselves, which its label
            leaves out (`metrics.choices.implied`). Where that is None, what all configurations of
            the same name have in common is taken to follow from it.
    """
    flat = [_flat(values) for values in params]
    labels = []
    for values, own in zip(flat, _settings(params, implied), strict=True):
        parts = [str(values.get(f"{each}.name")) for each in CHOICES if _differs(flat, each)]
        parts += [f"{key.removesuffix('.name')}={value}" for key, value in own.items()]
        labels.append(" · ".join(parts) or str(values.get("optimizer.name")))
    return labels


def _differs(flat: list[dict], group: str) -> bool:
    return any(values.get(f"{group}.name") != flat[0].get(f"{group}.name") for values in flat)


def _settings(params: Sequence[dict], implied: Sequence[dict | None] = ()) -> list[dict]:
    """Of each configuration, the values that its label names beside its choices, by their keys."""
    flat = [_flat(values) for values in params]
    defaults = [values and _flat(values) for values in implied or [None] * len(flat)]
    keys = sorted({key for values in flat for key in values} - {"seed"})
    keys = [key for key in keys if not key.startswith("runtime.")]
    differing = [key for key in keys if any(v.get(key) != flat[0].get(key) for v in flat)]
    names = [key for key in keys if key.count(".") == 1 and key.endswith(".name")]
    choices = [f"{choice}.name" for choice in CHOICES]
    shown = [{} for _ in flat]
    for key in differing:
        if key in choices:
            continue
        # A group that is no choice of the study, such as the size of a model, may set any key.
        related = [f"{key.partition('.')[0]}.name", *(n for n in names if n not in choices)]
        follows = not _varying(flat, key, related)
        varying = _varying(flat, key, names)
        # Names that imply different values at different commits.
        changed = _varying([default for default in defaults if default], key, related)
        for values, default, found in zip(flat, defaults, shown, strict=True):
            overridden = not follows if default is None else default.get(key) != values.get(key)
            ambiguous = _at(values, names) in varying or _at(values, related) in changed
            if key in values and (key in names or overridden or ambiguous):
                found[key] = values[key]
    return shown


def _varying(flat: list[dict], key: str, names: list[str]) -> set[tuple]:
    """The names with which the value of a key is not always the same."""
    seen, varying = {}, set()
    for values in flat:
        own = _at(values, names)
        if seen.setdefault(own, values.get(key)) != values.get(key):
            varying.add(own)
    return varying


def _at(values: dict, names: list[str]) -> tuple:
    return tuple(values.get(name) for name in names)


def _flat(values: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _number(value)
    return found


def _number(value):
    """The number that a text is; all else as it is. To YAML 1.1, which reads params.yaml here, 1e-8
    is a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value
