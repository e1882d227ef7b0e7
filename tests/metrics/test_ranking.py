"""The ranking of variants, on runs whose answers are known."""

import numpy as np
import pandas as pd

from metrics.report import ranking


def runs(model="svoice", **scores):
    """A summary with one run for each seed's score of each variant."""
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
            }
            for variant, values in scores.items()
            for seed, score in enumerate(values)
        ]
    )


def test_the_best_mean_comes_first_and_what_has_none_last():
    found = ranking.ranking(runs(sgd=[1, 2], adam=[5, 7], none=[None, None]), "sgd")
    assert found.variant.tolist() == ["adam", "sgd", "none"]
    assert [each.value for each in found.score[:2]] == [6, 1.5]
    assert found.score_difference[0].value == 4.5
    assert found.best_valid_loss_difference[0].value == -4.5
    assert found.score_difference[1] == (0, 0, 0, 2)
    assert found.unlike.tolist() == [{}, {}, {"diverged": 2}]
    assert found.score[2].n == 0


def test_only_seeds_that_both_have_are_compared():
    found = ranking.ranking(runs(sgd=[1, 2], adam=[5, 7, 900]), "sgd").set_index("variant")
    assert found.score["adam"].n == 3
    assert (found.score_difference["adam"].value, found.score_difference["adam"].n) == (4.5, 2)


def test_one_seed_is_said_to_be_one():
    _, html = ranking.render(runs(sgd=[1], adam=[5]), "sgd")
    assert "One seed each" in html
    assert "[" not in html.split("<figure")[0].replace("[1]", "")
    _, html = ranking.render(runs(sgd=[1, 2], adam=[5, 6]), "sgd")
    assert "One seed each" not in html
    assert "5.50 [5.00, 6.00]" in html


def test_diverged_and_missing_runs_are_named():
    frame = runs(sgd=[1, None], adam=[5, 6])
    frame.loc[frame.variant == "adam", "status"] = ["missing", "failed"]
    frame.loc[0, "score"] = np.nan
    _, html = ranking.render(frame, "sgd")
    assert "sgd (baseline, 1 of 2 runs diverged)" in html
    assert "adam (1 of 2 runs not trained, 1 of 2 runs failed)" in html
