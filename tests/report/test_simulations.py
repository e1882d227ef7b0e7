"""How often the report's intervals hold the true value, and how often it finds what is not there.

`pytest -s` prints the figures.
"""

import numpy as np
import pandas as pd
import pytest

from report import ranking, statistics
from report.statistics import ALPHA, LEVEL, difference, holm, interval, p_values, pairwise

SEEDS = range(3, 11)
VARIANTS = 20


def coverage(n: int, studies: int = 60_000) -> float:
    """The share of intervals of n normal values that hold the true mean."""
    values = np.random.default_rng(n).normal(5, 2, (studies, n))
    _, low, high = interval(values)
    return float(((low <= 5) & (high >= 5)).mean())


def same_variants(n: int, studies: int, common: float, seed: int = 0) -> np.ndarray:
    """Scores of 20 variants that are all the same, `(studies, variants, seeds)`.

    Args:
        n: the number of seeds.
        studies: how many studies there are.
        common: the standard deviation of what all variants of a seed have in common; that of what
            each run has for itself is 1.
        seed: of the random numbers.
    """
    generator = np.random.default_rng([seed, n, round(10 * common)])
    own = generator.normal(size=(studies, VARIANTS, n))
    return own + common * generator.normal(size=(studies, 1, n))


def against_baseline(scores: np.ndarray) -> np.ndarray:
    """The corrected p-values of all variants against the first, `(studies, variants - 1)`."""
    return holm(p_values(scores[:, 1:] - scores[:, :1]))


def against_best(scores: np.ndarray) -> np.ndarray:
    """Those of all variants against the one with the best mean, `(studies, variants)`, corrected
    over all pairs."""
    first, second = np.triu_indices(VARIANTS, 1)
    p = holm(p_values(scores[:, first] - scores[:, second]))
    best = scores.mean(axis=2).argmax(axis=1)[:, None]
    return np.where((first == best) | (second == best), p, 1.0)


def false_positives(compare, n: int, studies: int, common: float) -> float:
    """The share of studies in which any of 20 variants that are the same is called different."""
    return float((compare(same_variants(n, studies, common)) <= ALPHA).any(axis=1).mean())


@pytest.mark.parametrize("n", SEEDS)
def test_intervals_hold_the_mean_at_their_level(n):
    share = coverage(n)
    print(f"\nn = {n}: {100 * share:.2f} % of the intervals hold the mean", end="")
    assert share == pytest.approx(LEVEL, abs=0.01)


@pytest.mark.parametrize("common", [0.0, 3.0])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_variants_that_are_the_same_are_rarely_called_different(n, common):
    share = false_positives(against_baseline, n, 20_000, common)
    print(f"\nn = {n}, seeds share {common}: {100 * share:.2f} % false positives", end="")
    assert 0.005 < share <= ALPHA


@pytest.mark.parametrize("common", [0.0, 3.0])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_best_of_many_is_rarely_called_better_by_luck(n, common):
    share = false_positives(against_best, n, 4_000, common)
    print(f"\nn = {n}, seeds share {common}: {100 * share:.2f} % falsely best", end="")
    assert share <= ALPHA


def test_without_a_correction_most_studies_would_find_what_is_not_there():
    """So the simulation is able to see false positives."""
    scores = same_variants(5, 4_000, 0.0)
    p = p_values(scores[:, 1:] - scores[:, :1])
    assert (p <= ALPHA).any(axis=1).mean() > 0.3
    # The best is chosen by its scores: a correction over its own comparisons is not enough.
    means = scores.mean(axis=2)
    best = np.take_along_axis(scores, means.argmax(axis=1)[:, None, None], axis=1)
    others = holm(np.where((best == scores).all(axis=2), np.nan, p_values(best - scores)))
    assert (others <= ALPHA).any(axis=1).mean() > ALPHA


@pytest.mark.parametrize("n", [3, 10])
def test_the_simulations_use_what_the_page_shows(n):
    """The ranking and the pairs of a single study, number by number."""
    (scores,) = same_variants(n, 1, 3.0, seed=1)
    names = [f"v{number:02}" for number in range(VARIANTS)]
    runs = pd.DataFrame(
        [
            {"variant": name, "seed": seed, "status": "completed", "score": score}
            for name, row in zip(names, scores, strict=True)
            for seed, score in enumerate(row)
        ]
    ).assign(best_valid_loss=np.nan, seconds_per_step=0.1, optimizer_bytes=None)
    ranked = ranking.ranking(runs, names[0]).set_index("variant")
    shown = [ranked["score_difference"][name].corrected for name in names[1:]]
    np.testing.assert_allclose(shown, against_baseline(scores[None])[0])
    _, low, high = interval(scores)
    np.testing.assert_allclose([ranked["score"][name].low for name in names], low)
    np.testing.assert_allclose([ranked["score"][name].high for name in names], high)

    by_seed = {name: dict(enumerate(row)) for name, row in zip(names, scores, strict=True)}
    pairs = pairwise(by_seed)
    best = names[scores.mean(axis=1).argmax()]
    smallest = min(pairs[best, other].corrected for other in names if other != best)
    assert smallest == pytest.approx(against_best(scores[None])[0].min())
    single = difference(by_seed[names[1]], by_seed[names[0]])
    assert single.p == pytest.approx(p_values(scores[1] - scores[0]))


def test_the_number_of_runs_that_is_named_sees_the_difference_four_times_in_five():
    generator = np.random.default_rng(0)
    for deviation, tests in ((0.1, 1), (0.15, 10), (0.4, 19)):
        n = statistics.runs_needed(deviation, tests)
        shares = [
            (p_values(generator.normal(0.2, deviation, (20_000, runs))) <= ALPHA / tests).mean()
            for runs in (n - 1, n)
        ]
        print(
            f"\nsd = {deviation}, {tests} tests, n = {n}: seen in {100 * shares[1]:.1f} %", end=""
        )
        assert shares[1] > statistics.POWER - 0.01 and shares[0] < statistics.POWER + 0.01
