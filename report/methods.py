"""The paragraph about the methods of a comparison, with its numbers filled in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import pandas as pd

from contract.models import MODELS
from contract.records import DIVERGED
from report.experiments import Experiment, seeds_in_words
from report.markup import plural
from report.results import library
from report.statistics import LIMIT
from report.tuning import Tuning


def text(
    experiments: Sequence[Experiment], runs: pd.DataFrame, baseline: str, tuning: Tuning | None
) -> str:
    """Returns the paragraph, as plain text.

    Args:
        experiments: those that are compared.
        runs: their rows of `report.experiments.summary`.
        baseline: the variant that the others are compared with.
        tuning: how the variants were tuned; None if they were not.
    """
    unit = tuning.unit if tuning else "seed"
    sentences = [_compared(experiments, runs)]
    if tuning:
        sentences += _tuned(tuning, set(runs["model"]))
    sentences.append(_repeated(runs))
    diverged = int((runs["status"] == DIVERGED).sum())
    if diverged:
        sentences.append(
            f"{plural(diverged, 'run')} of {len(runs)} diverged, and {_counts(diverged)} with the "
            "best weights until then."
        )
    sentences += [
        f"We report means over the {unit}s with 95 % intervals by Student's t.",
        f"Differences from {baseline} are paired by {unit}, and tested by two-sided paired t-tests "
        "at a level of 5 % after Holm's correction over the variants; for the statement about the "
        "best variant, after Holm's correction over all pairs of variants.",
        "The time to target is the time until a validation loss that is stated was first reached. "
        "AlgoPerf's score is the integral of the performance profile over models and "
        f"{unit}s up to {LIMIT:g} times the fastest variant's time, divided by {LIMIT - 1:g} (Dahl "
        "et al. 2023).",
        f"Statistics were computed with SciPy {version('scipy')} and NumPy {version('numpy')}.",
    ]
    return " ".join(sentences)


def _compared(experiments: Sequence[Experiment], runs: pd.DataFrame) -> str:
    """Returns the sentence about what was compared, on which models."""
    models = []
    for key in runs["model"].unique():
        trained = [getattr(experiment.workspace, key).environment for experiment in experiments]
        libraries = sorted({name for name in map(library, trained) if name})
        with_libraries = f" with {', '.join(libraries)}" if libraries else ""
        models.append(f"{MODELS[key].title} ({MODELS[key].task}){with_libraries}")
    variants = list(runs["variant"].unique())
    return (
        f"We compared {plural(len(variants), 'variant')} of the training ({', '.join(variants)}) "
        f"on {' and '.join(models)}."
    )


def _tuned(tuning: Tuning, models: set[str]) -> list[str]:
    """Returns the sentences about the tuning.

    Args:
        tuning: how the variants were tuned.
        models: the keys of the models that are compared.
    """
    trials = tuning.trials[tuning.trials["model"].isin(models)]
    settings = list(dict.fromkeys(name for space in tuning.spaces.values() for name in space))
    diverged = int((trials["status"] == DIVERGED).sum())
    sentences = [
        f"The settings of each variant ({', '.join(settings)}; the spaces are in a table of their "
        f"own) were tuned with {plural(tuning.trials_each, 'quasi-random trial')}, at the same "
        "points of the unit cube for all variants.",
        f"Of the {plural(len(trials), 'trial')} over the models, {diverged} diverged; a trial that "
        "diverged counts as a trial.",
        "For each model, the settings of the completed trial with the lowest validation loss were "
        f"run again with {plural(tuning.seeds, 'seed')}, and only these runs count.",
    ]
    if tuning.repetitions > 1:
        sentences.append(
            f"The tuning was repeated {tuning.repetitions} times from new points. A repetition, as "
            "the mean over its seeds, counts as one independent value."
        )
    return sentences


def _repeated(runs: pd.DataFrame) -> str:
    """Returns the sentence about how many runs and seeds there are."""
    each = runs.groupby("model", sort=False).size()
    counts = " and ".join(f"{count} of {MODELS[key].title}" for key, count in each.items())
    return f"Each variant was run with {seeds_in_words(runs)}: {counts} in all."


def _counts(count: int) -> str:
    return "counts" if count == 1 else "count"
