"""Experiments side by side: a table of what they are and how they ended, and their curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from contract.errors import InputError
from contract.menu import GROUPS
from contract.records import EPOCH_COLUMNS, STEP_COLUMNS
from contract.scores import BOUNDS
from contract.yaml_files import flat
from report.markup import plural
from report.results import Workspace

CHOICES = tuple(GROUPS)  # optimizer, schedule, clipping
CHOICE_NAMES = tuple(f"{choice}.name" for choice in CHOICES)
# The keys of train.json in the summary. Older runs have no `optimizer_bytes`.
RECORDED = ("steps", "best_valid_loss", "final_loss", "seconds_per_step", "optimizer_bytes")
MISSING = "missing"  # the status of a run that has no train.json

Values = dict[str, Any]  # a configuration: nested, or flat with keys such as `optimizer.name`


@dataclass(frozen=True)
class Experiment:
    """What one experiment left.

    Attributes:
        name: as DVC or the user calls it.
        commit: its own; empty if it is the workspace and has none.
        workspace: its files. Those that it does not have are None there.
        state: `done`; or its state in DVC's queue: `queued`, `running` or `failed`.
        log: the last lines of a failed experiment's log.
        implied: the configuration that the names of its choices imply by themselves
            (`studies.choices`); None if that is not known.
    """

    name: str
    commit: str
    workspace: Workspace
    state: str = "done"
    log: str = ""
    implied: Values | None = None


def summary(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Returns what the experiments are and how they ended.

    Args:
        experiments: all of them.

    Returns:
        One row per experiment × model: `experiment, commit, model, optimizer, schedule, clipping,
        seed`; `variant`, its label (`variants`); `status`, that of train.json, or `MISSING` without
        one, or the state in DVC's queue; `steps, best_valid_loss, final_loss, seconds_per_step,
        optimizer_bytes` (the memory of the optimizer's state), None where train.json has none;
        `score`, the headline of the model, and under the names of `contract.scores.BOUNDS` what it
        lies between (dB; None if there is none); and the value of each setting that the label of a
        variant names, under its key, as `optimizer.svoice.lr`.
    """
    configurations = [experiment.workspace.params for experiment in experiments]
    implied = [experiment.implied for experiment in experiments]
    labels = variants(configurations, implied)
    settings = sorted({key for named in _settings(configurations, implied) for key in named})
    rows = []
    for experiment, variant in zip(experiments, labels, strict=True):
        params = experiment.workspace.params
        flat_params = _numbers(params)
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
                    **{key: train.get(key) for key in RECORDED},
                    "score": model.headline,
                    **{bound: model.bound(bound) for bound in BOUNDS},
                    **{key: flat_params.get(key) for key in settings},
                }
            )
    return pd.DataFrame(rows)


def _status(experiment: Experiment, train: Values) -> str:
    if experiment.state != "done":
        return experiment.state
    return train.get("status", MISSING)


def seeds_in_words(runs: pd.DataFrame) -> str:
    """Returns how many seeds the variants have, as `1 seed` or `2 to 3 seeds`.

    Args:
        runs: as `summary` returns them.
    """
    seeds = runs.groupby(["model", "variant"])["seed"].nunique()
    fewest, most = seeds.min(), seeds.max()
    return plural(fewest, "seed") if fewest == most else f"{fewest} to {most} seeds"


def variant_of(summary: pd.DataFrame, name: str | None) -> str:
    """Returns the variant of an experiment.

    Args:
        summary: as `summary` returns it.
        name: the name of the experiment; None for the first one.

    Raises:
        InputError: no experiment has the name.
    """
    variants_by_name = dict(zip(summary["experiment"], summary["variant"], strict=True))
    if name is None:
        return summary["variant"].iloc[0]
    if name not in variants_by_name:
        raise InputError.mismatch("BASELINE", repr(name), f"one of {', '.join(variants_by_name)}")
    return variants_by_name[name]


def curves(experiments: Sequence[Experiment], name: str) -> pd.DataFrame:
    """Returns the curves of all experiments.

    Args:
        experiments: in any state.
        name: `steps` or `epochs`, the attribute of a `Model`.

    Returns:
        The rows of steps.csv or epochs.csv, each with its `experiment` and `model` before.
    """
    frames = [
        frame.assign(experiment=experiment.name, model=model.key)
        for experiment in experiments
        for model in experiment.workspace.models
        if (frame := getattr(model, name)) is not None and len(frame)
    ]
    if not frames:
        columns = {"steps": STEP_COLUMNS, "epochs": EPOCH_COLUMNS}[name]
        return pd.DataFrame(columns=["experiment", "model", *columns])
    rows = pd.concat(frames, ignore_index=True)
    return rows[["experiment", "model", *rows.columns.drop(["experiment", "model"])]]


def variants(params: Sequence[Values], implied: Sequence[Values | None] = ()) -> list[str]:
    """Returns a label for each configuration, which names what differs between them.

    Optimizer, schedule and clipping are there by name, other groups and keys as `key=value`. The
    seed and the runtime do not make another variant.

    Args:
        params: the configurations.
        implied: of each configuration, what the names in it imply by themselves, which its label
            leaves out (`studies.choices.implied`). Where that is None, what all configurations with
            the same name have in common is taken to follow from the name.
    """
    flat_params = [_numbers(values) for values in params]
    names = [key for key in CHOICE_NAMES if _differs(flat_params, key)]
    labels = []
    for values, settings in zip(flat_params, _settings(params, implied), strict=True):
        parts = [str(values.get(key)) for key in names]
        parts += [f"{key.removesuffix('.name')}={value}" for key, value in settings.items()]
        labels.append(" · ".join(parts) or str(values.get("optimizer.name")))
    return labels


def _differs(flat_params: list[Values], key: str) -> bool:
    """Returns whether the configurations do not all have the same value of a key."""
    return any(values.get(key) != flat_params[0].get(key) for values in flat_params)


def _settings(params: Sequence[Values], implied: Sequence[Values | None] = ()) -> list[Values]:
    """Returns the values that the label of each configuration names beside its choices, by key.

    Args:
        params: the configurations.
        implied: as for `variants`.
    """
    flat_params = [_numbers(values) for values in params]
    defaults = [values and _numbers(values) for values in implied or [None] * len(params)]
    keys = sorted({key for values in flat_params for key in values} - {"seed"})
    keys = [key for key in keys if not key.startswith("runtime.")]
    names = [key for key in keys if key.count(".") == 1 and key.endswith(".name")]
    settings: list[Values] = [{} for _ in params]
    for key in keys:
        if key in CHOICE_NAMES or not _differs(flat_params, key):
            continue
        # A group that is no choice of the study, such as the size of a model, may set any key.
        related = [f"{key.partition('.')[0]}.name", *(n for n in names if n not in CHOICE_NAMES)]
        follows = not _varying(flat_params, key, related)
        varying = _varying(flat_params, key, names)
        # Names that imply different values at different commits.
        changed = _varying([default for default in defaults if default], key, related)
        for values, default, shown in zip(flat_params, defaults, settings, strict=True):
            overridden = not follows if default is None else default.get(key) != values.get(key)
            ambiguous = _at(values, names) in varying or _at(values, related) in changed
            if key in values and (key in names or overridden or ambiguous):
                shown[key] = values[key]
    return settings


def _varying(flat_params: list[Values], key: str, names: list[str]) -> set[tuple[Any, ...]]:
    """Returns the values of `names` with which the value of a key is not always the same."""
    seen: dict[tuple[Any, ...], Any] = {}
    varying = set()
    for values in flat_params:
        combination = _at(values, names)
        if seen.setdefault(combination, values.get(key)) != values.get(key):
            varying.add(combination)
    return varying


def _at(values: Values, keys: list[str]) -> tuple[Any, ...]:
    return tuple(values.get(key) for key in keys)


def _numbers(values: Values) -> Values:
    """Returns a nested configuration by keys such as `optimizer.name`, texts that are numbers as
    numbers."""
    return {key: _number(value) for key, value in flat(values).items()}


def _number(value: Any) -> Any:
    """Returns the number that a text is, and anything else as it is.

    A configuration that was composed by the rules of YAML 1.1 has 1e-8 as a text.
    """
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value
