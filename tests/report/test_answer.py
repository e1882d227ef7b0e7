"""The answer in words, on runs whose answers are known."""

import numpy as np
import pytest

from contract.models import MODELS
from report.answer import sentence
from tests.report.test_ranking import runs

SPEECH = MODELS["svoice"]


def answer(**scores):
    """The sentence about speech."""
    return sentence(SPEECH, runs(**scores))


def test_the_best_what_it_cannot_be_told_apart_from_and_what_is_worse():
    text = answer(
        sgd=[1.001, 1.102, 1.203],
        adam=[2.5, 2.6, 2.7],
        nadam=[2.6, 2.4, 2.5],
        adamw=[2.7, 2.3, 2.7],
    )
    # By hand: the differences from sgd are 1.499, 1.498 and 1.497, so that the interval is 1.498
    # ± 4.303 · 0.001 / √3.
    assert text == (
        "Speech: adam is best at 2.60 dB [2.35, 2.85]; it cannot be told apart from adamw and "
        "nadam at n = 3; sgd is worse by 1.50 dB [1.50, 1.50]."
    )


def test_a_single_seed_leaves_the_question_open():
    assert answer(sgd=[1], adam=[2.6]) == (
        "Speech: adam is best at 2.60 dB; with fewer than two seeds in common, the differences may "
        "be chance."
    )


def test_a_single_variant_has_nothing_to_be_compared_with():
    assert answer(adam=[2.5, 2.7]) == (
        "Speech: adam reaches 2.60 dB [1.33, 3.87] at n = 2; there is no other variant with a "
        "score to compare it with."
    )
    assert answer(adam=[2.5], sgd=[None], none=[np.nan]) == (
        "Speech: adam reaches 2.50 dB at n = 1; there is no other variant with a score to compare "
        "it with; sgd and none have no score."
    )


@pytest.mark.parametrize("missing", [None, np.nan, np.inf])
def test_without_scores_there_is_no_answer(missing):
    assert answer(adam=[missing], sgd=[missing]) == "Speech: no variant has a score."
    assert answer(adam=[missing, 1, 2], sgd=[1, 1, 0]).endswith("at n = 2.")


def test_variants_that_tie_share_the_first_place():
    assert answer(adam=[2, 3], nadam=[3, 2], sgd=[1, 1.5]) == (
        "Speech: adam and nadam are best, each at 2.50 dB; adam cannot be told apart from sgd at "
        "n = 2."
    )
    assert answer(adam=[2, 3], nadam=[2, 3]) == (
        "Speech: adam and nadam are best, each at 2.50 dB."
    )


def test_everything_may_be_alike_and_numbers_of_seeds_may_differ():
    text = answer(adam=[2.0, 3.1, 2.4], nadam=[2.9, 2.2], adamw=[2.1, 2.2, 2.5], sgd=[0.5])
    assert text == (
        "Speech: nadam is best at 2.55 dB [−1.90, 7.00]; it cannot be told apart from adam and "
        "adamw at n = 2; sgd has fewer than two seeds in common with it, too few for a test."
    )
    text = answer(adam=[2.0, 3.1, 2.5], nadam=[2.1, 2.2], adamw=[2.1, 2.2, 2.5])
    assert "adam is best" in text and text.endswith("any of the 2 others at n = 2 to 3.")


def test_many_worse_variants_are_counted():
    noise = 1e-4 * np.random.default_rng(0).normal(size=(12, 5))
    scores = {f"v{number}": 10.0 - number + row for number, row in enumerate(noise)}
    text = answer(**scores)
    assert text.startswith("Speech: v0 is best at 10.00 dB [10.00, 10.00]; 11 others are worse, v1")
    assert "and v11 by 11.00 dB [11.00, 11.00]." in text


def test_the_best_by_luck_is_corrected_over_all_pairs():
    """Compared with adam alone, sgd would be worse."""
    scores = {"adam": [3.0, 3.1, 3.3], "sgd": [1.9, 2.2, 2.2]}
    assert "sgd is worse by 1.03 dB" in answer(**scores)
    scores |= {f"v{number}": [2.5, 2.0 + number / 10, 2.9] for number in range(4)}
    assert "cannot be told apart from any of the 5 others at n = 3" in answer(**scores)


def test_the_repetitions_count_where_the_tuning_was_repeated():
    frame = runs(adam=[2, 4, 3, 5], sgd=[1, 3, 2, 4]).assign(repetition=[1, 1, 2, 2] * 2)
    assert sentence(MODELS["spleeter"], frame, "repetition") == (
        "Music: adam is best at 3.50 dB [−2.85, 9.85]; sgd is worse by 1.00 dB [1.00, 1.00]."
    )
