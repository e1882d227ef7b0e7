"""Tunes the settings of optimizers by the same rules for all, as AlgoPerf does (Dahl et al. 2023).

For each cell of a study, a few quasi-random points of its optimizer's space are tried, with the
study's first seed: the trials. The best by validation is run on all seeds, and only these runs are
compared. A trial trains both models at its point; each model has a choice of its own among them.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from contract.errors import InputError
from contract.layout import CONF
from contract.menu import OPTIMIZERS
from contract.models import MODELS
from contract.records import COMPLETED, DIVERGED
from report.experiments import summary, variants
from report.tuning import Tuning
from studies import choices, revisions, search
from studies.definition import (
    Experiment,
    Study,
    TuningRules,
    cell_overrides,
    cells,
    experiment_name,
    values_of,
)
from studies.overrides import Value, check_setting

GROUP = "optimizer"
CHOSEN = ["model", "cell", "repetition"]  # one trial is chosen for each


class Cell(NamedTuple):
    """A cell of a tuned study.

    Attributes:
        optimizer: the name of its optimizer.
        values: what distinguishes it from other cells, by key.
        overrides: all its settings in Hydra's grammar, without those that are tuned.
    """

    optimizer: str
    values: dict[str, Value]
    overrides: list[str]


class Trial(NamedTuple):
    """A point at which a cell is tried.

    Attributes:
        cell: the number of the cell in the plan.
        repetition: the number of the repetition of the tuning.
        number: its number in the repetition.
        settings: its settings of the optimizer, by their names in the menu.
        experiment: the name of the experiment.
    """

    cell: int
    repetition: int
    number: int
    settings: dict[str, float]
    experiment: str


class Final(NamedTuple):
    """A run of what was chosen for a cell.

    Attributes:
        cell: the number of the cell in the plan.
        repetition: the number of the repetition of the tuning.
        seed: its seed.
        experiment: the name of the experiment.
    """

    cell: int
    repetition: int
    seed: int
    experiment: str


@dataclass(frozen=True)
class Runs:
    """Experiments of a tuned study.

    Attributes:
        experiments: what runs, each once.
        settings: by the name of an experiment, what is tuned of it, by keys such as
            `optimizer.svoice.lr`.
    """

    experiments: list[Experiment]
    settings: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Plan:
    """The trials of a tuned study.

    Attributes:
        name: of the study.
        study: its definition.
        rules: those of its tuning.
        models: the keys of the models that it trains.
        cells: its cells.
        trials: the trials of all cells and repetitions.
        runs: their experiments.
    """

    name: str
    study: Study
    rules: TuningRules
    models: list[str]
    cells: list[Cell]
    trials: list[Trial]
    runs: Runs


def plan(
    name: str, study: Study, rules: TuningRules, models: Sequence[str], settings: Sequence[str] = ()
) -> Plan:
    """Returns the trials of a study.

    Args:
        name: the name of the study.
        study: its definition.
        rules: those of its tuning.
        models: the keys of the models that it trains.
        settings: `key=value`, more overrides of all experiments.

    Raises:
        InputError: a cell names no optimizer of the menu, or sets what is tuned.
    """
    of_study = _cells(name, study, settings)
    spaces = [search.read_space(cell.optimizer) for cell in of_study]
    for cell, space in zip(of_study, spaces, strict=True):
        _check_untuned([*study.overrides, *cell.overrides], cell.optimizer, space)
    dimension = search.dimension()
    trials, runs, names = [], Runs([], {}), {}
    for repetition in range(rules.repetitions):
        points = search.points(rules.trials, dimension, study.seed, repetition)
        for number, cell in enumerate(of_study):
            for trial, point in enumerate(points):
                point_settings = search.settings_at(spaces[number], point)
                tuned = {model: point_settings for model in models}
                experiment = _experiment(
                    name, cell, repetition, {"trial": trial}, study.seed, tuned, runs
                )
                # Points that differ by less than their digits are one experiment.
                first = names.setdefault(tuple(experiment.overrides), experiment.name)
                if first != experiment.name:
                    runs.experiments.remove(experiment)
                    del runs.settings[experiment.name]
                trials.append(Trial(number, repetition, trial, point_settings, first))
    return Plan(name, study, rules, list(models), of_study, trials, runs)


def _cells(name: str, study: Study, settings: Sequence[str]) -> list[Cell]:
    """Returns the cells of a study; those that settings make the same are one."""
    for text in settings:
        check_setting(text)
    by_name: dict[str, Cell] = {}
    for values in cells(study):
        all_values = values | values_of(settings)
        optimizer = all_values.get(GROUP)
        if optimizer not in OPTIMIZERS:
            where = f"{CONF / 'study' / name}.yaml, cells"
            problem = f"the cell {values} names no optimizer, and could not be tuned"
            raise InputError(where, problem, "add `optimizer` to it, one of the menu")
        overrides = [*cell_overrides(name, values), *settings]
        cell = Cell(str(optimizer), all_values, overrides)
        by_name.setdefault(experiment_name(name, all_values), cell)
    return list(by_name.values())


def _check_untuned(overrides: Sequence[str], optimizer: str, space: search.Space) -> None:
    """Refuses settings that the tuning makes itself.

    Raises:
        InputError: an override sets the seed, or a setting of the space.
    """
    tuned = {"seed"} | {
        override.partition("=")[0]
        for model in MODELS
        for override in search.overrides(optimizer, model, dict.fromkeys(space, 0.0))
    }
    for override in overrides:
        key = override.partition("=")[0].lstrip("+")
        if key in tuned:
            problem = "is set, but a tuned study sets it itself"
            remedy = f"remove it; {search.SEARCH / optimizer}.yaml says between what it is tuned"
            raise InputError(key, problem, remedy if key != "seed" else "use the study's `seed`")


def _experiment(
    name: str,
    cell: Cell,
    repetition: int,
    kind: Mapping[str, Value],
    seed: int,
    tuned: Mapping[str, Mapping[str, float]],
    runs: Runs,
) -> Experiment:
    """Adds an experiment to runs, and returns it.

    Args:
        name: the name of the study.
        cell: its cell.
        repetition: the number of the repetition; the first has no part in the name.
        kind: its `trial` or its `seed`, which ends its name.
        seed: its seed.
        tuned: the settings of each model's optimizer, by their names in the menu.
        runs: to which it is added.
    """
    repeated = {"tuning": repetition + 1} if repetition else {}
    overrides = [
        override
        for model, settings in tuned.items()
        for override in search.overrides(cell.optimizer, model, settings)
    ]
    experiment = Experiment(
        experiment_name(name, {**cell.values, **repeated, **kind}),
        [*cell.overrides, f"seed={seed}", *overrides],
    )
    runs.experiments.append(experiment)
    runs.settings[experiment.name] = {
        key: float(value) for key, value in values_of(overrides).items()
    }
    return experiment


def results(
    plan: Plan, repository: Path, elsewhere: Mapping[str, revisions.Elsewhere] | None = None
) -> pd.DataFrame:
    """Returns the trials with their results, and which of them are chosen.

    Args:
        plan: the trials.
        repository: its root, in which they have been run.
        elsewhere: those without a result that DVC's queue does not know, by their names.

    Returns:
        One row per model × trial: `model, cell, repetition, trial, experiment, status, score,
        best_valid_loss, chosen`, and the value of each searched setting under its name in the menu,
        NaN where an optimizer does not have it.
    """
    names = [experiment.name for experiment in plan.runs.experiments]
    with tempfile.TemporaryDirectory() as folder:
        runs = summary(revisions.read(repository, names, Path(folder), elsewhere))
    return choose(plan, runs)


def choose(plan: Plan, runs: pd.DataFrame) -> pd.DataFrame:
    """Returns the trials with their results, and which of them are chosen, as `results` does.

    For each model, cell and repetition it is the completed trial with the lowest validation loss. A
    trial that diverged is chosen only if none was completed, and nothing is chosen as long as one
    has no result: then not all optimizers would have had the same number.

    Args:
        plan: the trials.
        runs: what `report.experiments.summary` says about their experiments.
    """
    by_run = runs.set_index(["model", "experiment"])
    rows = []
    for model in plan.models:
        for cell, repetition, number, settings, experiment in plan.trials:
            run = by_run.loc[(model, experiment)]
            rows.append(
                {
                    "model": model,
                    "cell": cell,
                    "repetition": repetition,
                    "trial": number,
                    "experiment": experiment,
                    **{key: run[key] for key in ("status", "score", "best_valid_loss")},
                    "chosen": False,
                    **settings,
                }
            )
    trials = pd.DataFrame(rows)
    for _, of_choice in trials.groupby(CHOSEN):
        if of_choice["status"].isin([COMPLETED, DIVERGED]).all():
            completed = of_choice[of_choice["status"] == COMPLETED]
            losses = (completed if len(completed) else of_choice)["best_valid_loss"]
            best = losses.astype(float).fillna(math.inf).idxmin()
            trials.loc[best, "chosen"] = True
    return trials


def finals(plan: Plan, trials: pd.DataFrame, seeds: int) -> tuple[list[Final], Runs]:
    """Returns the runs of what was chosen, and their experiments.

    Args:
        plan: the trials.
        trials: their results, as `results` returns them. A cell in which nothing is chosen for a
            model has no runs.
        seeds: with how many seeds each cell runs.
    """
    chosen = trials[trials["chosen"]].set_index(["cell", "repetition", "model"])["trial"]
    settings = {
        (trial.cell, trial.repetition, trial.number): trial.settings for trial in plan.trials
    }
    runs, of_plan = Runs([], {}), []
    for repetition in range(plan.rules.repetitions):
        for seed in range(plan.study.seed, plan.study.seed + seeds):
            for number, cell in enumerate(plan.cells):
                places = {model: (number, repetition, model) for model in plan.models}
                if not all(place in chosen.index for place in places.values()):
                    continue
                tuned = {
                    model: settings[number, repetition, chosen[place]]
                    for model, place in places.items()
                }
                kind = {"seed": seed}
                experiment = _experiment(plan.name, cell, repetition, kind, seed, tuned, runs)
                of_plan.append(Final(number, repetition, seed, experiment.name))
    return of_plan, runs


def for_report(plan: Plan, trials: pd.DataFrame, finals: Collection[Final], seeds: int) -> Tuning:
    """Returns what a report says about the tuning.

    Args:
        plan: the trials.
        trials: their results, as `results` returns them.
        finals: the runs of what was chosen.
        seeds: with how many seeds each cell has run.
    """
    names = _variants(plan)
    columns = [*Final._fields]
    table = pd.DataFrame(list(finals), columns=columns)
    table.insert(0, "variant", table.pop("cell").map(dict(enumerate(names))))
    trials = trials.assign(variant=trials["cell"].map(dict(enumerate(names))))
    first = ["model", "variant", "repetition", "trial"]
    rest = [column for column in trials.columns if column not in (*first, "cell")]
    return Tuning(
        {
            name: search.read_space(cell.optimizer)
            for name, cell in zip(names, plan.cells, strict=True)
        },
        trials[[*first, *rest]],
        table[["experiment", "variant", "repetition", "seed"]],
        plan.rules.trials,
        plan.rules.repetitions,
        seeds,
    )


def _variants(plan: Plan) -> list[str]:
    """Returns the label of each cell, as reports name it, without the settings that are tuned."""
    configurations = [
        choices.composed(CONF.absolute(), (*plan.study.overrides, *cell.overrides))
        for cell in plan.cells
    ]
    implied = [choices.implied(CONF.absolute(), values) for values in configurations]
    return variants(configurations, implied)
