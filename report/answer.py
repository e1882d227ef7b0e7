"""The answer of a comparison in words, with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from contract.models import Model
from report.markup import number
from report.ranking import by_unit
from report.statistics import Difference, Mean, mean, pairwise

NAMED = 8  # variants that a clause names; it counts more


def sentence(model: Model, runs: pd.DataFrame, unit: str = "seed") -> str:
    """Returns which variant of a model is best, and what it can and cannot be told apart from.

    The best is chosen by the scores that it is then compared by, so that the tests are corrected
    over all pairs of variants (`report.statistics.pairwise`).

    Args:
        model: the model.
        runs: its runs, as `report.experiments.summary` returns them.
        unit: as for `report.ranking.by_unit`.
    """
    values = by_unit(runs, "score", unit)
    means = {variant: mean(list(of_units.values())) for variant, of_units in values.items()}
    scored = {variant: average for variant, average in means.items() if average.n}
    unscored = [variant for variant in means if variant not in scored]
    topic = model.branch.capitalize()
    if not scored:
        return f"{topic}: no variant has a score."
    highest = max(average.value for average in scored.values())
    best = [variant for variant, average in scored.items() if average.value == highest]
    others = {variant: average for variant, average in scored.items() if variant not in best}
    clauses = [_best(best, scored)]
    if len(scored) == 1:
        clauses.append("there is no other variant with a score to compare it with")
    elif others:
        pairs = pairwise({variant: values[variant] for variant in scored})
        subject = "it" if len(best) == 1 else best[0]
        clauses += _compared(best[0], subject, pairs, others, unit)
    if unscored:
        clauses.append(f"{_names(unscored)} {_has(unscored)} no score")
    return f"{topic}: {'; '.join(clauses)}."


def _best(best: Sequence[str], scored: Mapping[str, Mean]) -> str:
    """Returns the clause about the variant, or the variants, with the best mean score."""
    if len(best) > 1:
        return f"{_names(best)} are best, each at {number(scored[best[0]].value)} dB"
    average = scored[best[0]]
    score = f"{number(average.value)} dB"
    if average.n > 1:
        score += f" [{number(average.low)}, {number(average.high)}]"
    if len(scored) == 1:
        return f"{best[0]} reaches {score} at n = {average.n}"
    return f"{best[0]} is best at {score}"


def _compared(
    best: str,
    subject: str,
    pairs: Mapping[tuple[str, str], Difference],
    others: Mapping[str, Mean],
    unit: str,
) -> list[str]:
    """Returns the clauses about what the best can and cannot be told apart from.

    Args:
        best: the best variant, or the first of those that are.
        subject: what the clauses call it.
        pairs: as from `report.statistics.pairwise`.
        others: the mean scores of the variants that are not the best.
        unit: as for `sentence`.
    """
    ranked = sorted(others, key=lambda variant: -others[variant].value)
    tested = [variant for variant in ranked if pairs[variant, best].n > 1]
    untested = [variant for variant in ranked if variant not in tested]
    alike = [variant for variant in tested if not pairs[variant, best].distinct]
    worse = [variant for variant in tested if variant not in alike]
    if not tested:
        return [f"with fewer than two {unit}s in common, the differences may be chance"]
    clauses = []
    if alike:
        counts = [pairs[variant, best].n for variant in alike]
        n = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
        if len(alike) == len(others) > 1:
            names = f"any of the {len(alike)} others"
        else:
            names = _names(alike)
        clauses.append(f"{subject} cannot be told apart from {names} at n = {n}")
    if len(worse) > NAMED:
        first, last = worse[0], worse[-1]
        clauses.append(
            f"{len(worse)} others are worse, {first} by {_gap(pairs[best, first])} and {last} by "
            f"{_gap(pairs[best, last])}"
        )
    else:
        clauses += [f"{variant} is worse by {_gap(pairs[best, variant])}" for variant in worse]
    if untested:
        clauses.append(
            f"{_names(untested)} {_has(untested)} fewer than two {unit}s in common with "
            f"{subject}, too few for a test"
        )
    return clauses


def _gap(each: Mean) -> str:
    """Returns a difference with its interval, as `1.40 dB [0.90, 1.90]`."""
    return f"{number(each.value)} dB [{number(each.low)}, {number(each.high)}]"


def _names(variants: Sequence[str]) -> str:
    """Returns names as `a`, `a and b` or `a, b and c`; many are counted."""
    if len(variants) > NAMED:
        return f"{len(variants)} variants"
    *first, last = variants
    return f"{', '.join(first)} and {last}" if first else last


def _has(variants: Sequence[str]) -> str:
    return "has" if len(variants) == 1 else "have"
