"""The ranking of variants, on runs whose answers are known."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from report import ranking
from report.statistics import runs_needed

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
                "seconds_per_step": 0.25,
                "optimizer_bytes": 3_200_000 if variant == "adam" else None,
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
    assert ranked.score_difference[1][:6] == (0, 0, 0, 2, 0, 1)
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
    assert "5.50 [−0.85, 11.85]" in html  # half the range times t of one degree of freedom, 12.71


def test_a_difference_that_the_corrected_test_does_not_see_is_no_difference():
    """The differences of adam and lion have the same p of 0.019: enough for one of them alone."""
    frame = runs(sgd=[0, 0, 0], adam=[1.0, 1.4, 0.9], lion=[1.0, 1.4, 0.9], none=[0.1, 0.2, -0.3])
    ranked = ranking.ranking(frame, "sgd").set_index("variant")
    adam = ranked.score_difference["adam"]
    p = stats.ttest_1samp([1.0, 1.4, 0.9], 0).pvalue
    assert adam.p == pytest.approx(p) and p < 0.05
    assert adam.corrected == pytest.approx(3 * p) and not adam.distinct
    _, html = ranking.render(frame, "sgd")
    needed = runs_needed(np.std([1.0, 1.4, 0.9], ddof=1), tests=3)
    assert row(html, "adam", 1) == [
        "cannot be told apart at n = 3",
        "1.10 [0.44, 1.76]",
        f"{p:.3f}",
        f"{3 * p:.3f}",
        f"{needed}",
    ]
    _, html = ranking.render(frame[frame.variant.isin(["sgd", "adam"])], "sgd")
    assert row(html, "adam", 1)[0] == "better"
    # The loss is minus the score.
    assert row(html, "adam", 2)[0] == "better"
    assert row(html, "adam", 2)[1] == "−1.10 [−1.76, −0.44]"


def row(html, variant, number):
    """The cells of a variant's row in the table of a section with this number, from 0."""
    body = html.split("<tbody>")[1 + number]
    cells = re.search(rf"<th[^>]*>{variant}</th>(.*?)</tr>", body)[1]
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", cells)]


def test_few_seeds_in_common_are_no_test():
    frame = runs(sgd=[1, 2], adam=[5], lion=[None, 3])
    frame.loc[frame.variant == "lion", "seed"] += 5
    _, html = ranking.render(frame, "sgd")
    assert row(html, "adam", 1) == ["one seed in common: no test", "4.00", "–", "–", "–"]
    assert row(html, "lion", 1) == ["no seed in common", "–", "–", "–", "–"]


def test_memory_and_time_stand_beside_the_scores():
    _, html = ranking.render(runs(sgd=[1, 2], adam=[5, 6]), "sgd")
    assert row(html, "adam", 0)[-2:] == ["3.2", "0.25"]
    assert row(html, r"sgd \(baseline\)", 0)[-2:] == ["–", "0.25"]  # an older train.json


def test_the_seeds_of_a_repetition_count_once():
    frame = runs(sgd=[1, 3, 5, 7], adam=[2, 6, 4, np.nan])
    frame["repetition"] = [1, 1, 2, 2] * 2
    ranked = ranking.ranking(frame, "sgd", "repetition").set_index("variant")
    assert (ranked.score["sgd"].value, ranked.score["sgd"].n) == (4, 2)
    difference = ranked.score_difference["adam"]  # 4 - 2 and 4 - 6
    assert (difference.value, difference.n) == (0, 2)
    assert difference.deviation == pytest.approx(8**0.5)
    margin, html = ranking.render(frame, "sgd", "repetition")
    assert "paired by repetition" in margin
    assert "repetitions to see 0.2 dB" in html


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
