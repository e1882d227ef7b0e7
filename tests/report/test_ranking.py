"""The ranking of variants, on runs whose answers are known."""

import numpy as np
import pandas as pd

from report import ranking

ONE_SEED = (
    "One seed each: a difference between two variants may be chance, and there are no intervals. "
    "Differences from <em>sgd</em> are single numbers."
)


def runs(model="svoice", **scores):
    """A summary with a run for each score: those of a variant belong to the seeds 0, 1, …"""
    return pd.DataFrame(
        [
            {
                "model": model,
                "variant": variant,
                "optimizer": variant,
                "seed": seed,
                "status": "diverged" if score is None else "completed",
                "score": score,
                "best_valid_loss": None if score is None else -score,
                "mixture": 0.0,
                "oracle": 12.5,
            }
            for variant, values in scores.items()
            for seed, score in enumerate(values)
        ]
    )


def test_the_best_mean_comes_first_and_a_variant_without_one_last():
    ranked = ranking.ranking(runs(sgd=[1, 2], adam=[5, 7], none=[None, None]), "sgd")
    assert ranked.variant.tolist() == ["adam", "sgd", "none"]
    assert [score.value for score in ranked.score[:2]] == [6, 1.5]
    assert ranked.score_difference[0].value == 4.5
    assert ranked.best_valid_loss_difference[0].value == -4.5
    assert ranked.score_difference[1] == (0, 0, 0, 2)
    assert ranked.incomplete.tolist() == [{}, {}, {"diverged": 2}]
    assert ranked.score[2].n == 0


def test_only_seeds_that_both_have_are_compared():
    ranked = ranking.ranking(runs(sgd=[1, 2], adam=[5, 7, 900]), "sgd").set_index("variant")
    assert ranked.score["adam"].n == 3
    difference = ranked.score_difference["adam"]
    assert (difference.value, difference.n) == (4.5, 2)


def test_the_page_says_that_there_is_one_seed():
    _, html = ranking.render(runs(sgd=[1], adam=[5]), "sgd")
    assert html.count(ONE_SEED) == 1
    assert "[" not in html.split("<figure")[0].replace("[1]", "")
    _, html = ranking.render(runs(sgd=[1, 2], adam=[5, 6]), "sgd")
    assert ONE_SEED not in html
    assert "5.50 [5.00, 6.00]" in html


def test_diverged_and_missing_runs_are_named():
    frame = runs(sgd=[1, None], adam=[5, 6])
    frame.loc[frame.variant == "adam", "status"] = ["missing", "failed"]
    frame.loc[0, "score"] = np.nan
    _, html = ranking.render(frame, "sgd")
    assert "sgd (baseline, 1 of 2 runs diverged)" in html
    assert "adam (1 of 2 runs not trained, 1 of 2 runs failed)" in html


def test_the_bounds_are_lines_of_the_figure_if_all_runs_share_them():
    frame = runs(sgd=[1, 2], adam=[5, 6])
    _, html = ranking.render(frame, "sgd")
    assert "The lines are the mixture (0.00 dB) and the oracle (12.50 dB)." in html
    frame.loc[0, "oracle"] = 9.0
    _, html = ranking.render(frame, "sgd")
    assert "The lines are the mixture (0.00 dB)." in html
