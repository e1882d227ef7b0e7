"""The sections about tuning, on trials whose answers are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from contract.errors import InputError
from report import images, tuning
from report.comparison import compare
from report.experiments import summary
from report.figure import log_tick
from report.tuning import Axis, counted, edge, position, spread, taus
from tests.report import many


@pytest.mark.parametrize(
    ("axis", "value", "expected"),
    [
        (Axis(1e-4, 1e-1, "log"), 1e-2, 2 / 3),
        (Axis(0.8, 1.0, "linear"), 0.85, 0.25),
        (Axis(0.9, 0.999, "one_minus_log"), 0.99, 0.5),
        (Axis(0.9, 0.999, "one_minus_log"), 0.9, 0.0),
    ],
)
def test_a_position_is_in_the_axis_own_scale(axis, value, expected):
    assert position(axis, value) == pytest.approx(expected)


def test_an_edge_is_a_twentieth_of_the_axis():
    axis = Axis(1.0, 1e4, "log")
    values = {1.0: "lower", 10**0.2: "lower", 10**0.21: "", 10**3.79: "", 10**3.81: "upper"}
    assert {value: edge(axis, value) for value in values} == values
    momentum = Axis(0.5, 0.99, "one_minus_log")
    assert [edge(momentum, value) for value in (0.55, 0.6, 0.985, 0.989)] == [
        "lower",
        "",
        "",
        "upper",
    ]


def test_only_the_runs_of_chosen_settings_count(tmp_path):
    experiments, tuned = many.tuned(tmp_path, seeds=2, repetitions=2)
    runs = counted(summary(experiments), tuned)
    assert len(runs) == 2 * len(tuned.finals) == 2 * 3 * 2 * 2
    assert not runs["experiment"].str.contains("trial").any()
    # The rates of the two repetitions differ, which makes no other variants.
    assert list(runs["variant"].unique()) == ["adam", "nesterov", "sgd"]
    assert sorted(runs["repetition"].unique()) == [1, 2]
    empty = replace(tuned, finals=tuned.finals[:0])
    with pytest.raises(InputError, match="has no run of chosen settings to compare"):
        counted(summary(experiments), empty)


def test_the_unit_of_the_statistics_is_the_repetition_where_there_are_several(tmp_path):
    _, once = many.tuned(tmp_path)
    _, twice = many.tuned(tmp_path, repetitions=2)
    assert (once.unit, twice.unit) == ("seed", "repetition")


def of_repetitions(**scores):
    """Runs with the scores of each variant, one for each repetition."""
    return pd.DataFrame(
        [
            {"variant": variant, "repetition": repetition, "seed": 0, "score": score}
            for variant, values in scores.items()
            for repetition, score in enumerate(values, start=1)
        ]
    )


def test_the_agreement_of_rankings_is_kendalls_tau():
    frame = of_repetitions(a=[4, 4, 1], b=[3, 1, 2], c=[2, 2, 3], d=[1, 3, np.nan])
    # By hand: of the six pairs, ac, ad and bd... agree in 3 of 6; with the third, none of 3 agrees,
    # and 1 of 3.
    first, second, third = taus(frame)
    assert first == pytest.approx(kendalltau([4, 3, 2, 1], [4, 1, 2, 3]).statistic)
    assert second == -1
    assert third == pytest.approx(kendalltau([4, 1, 2], [1, 2, 3]).statistic)
    assert np.isnan(taus(of_repetitions(a=[1, 2]))).all()
    assert taus(of_repetitions(a=[1])) == []


def test_the_section_names_spaces_choices_edges_and_agreement(tmp_path):
    experiments, tuned = many.tuned(tmp_path, repetitions=2)
    runs = counted(summary(experiments), tuned)
    margin, html = tuning.render(tuned, runs)
    assert "5 % of the axis" in margin
    assert (
        "Each variant was tuned with 4 quasi-random trials, and that 2 times from new points. The "
        "chosen settings were then run with 3 seeds" in html
    )
    assert "<td>one minus log</td>" in html and ">0.0001</td>" in html
    assert "learning_rate 0.01, beta1 0.9" in html
    assert "4, 1 diverged" in html
    # Of two models and two repetitions; adam's and sgd's choices lie inside.
    warning = (
        "▲ nesterov (repetition 1): the chosen momentum, 0.985, lies at the upper edge of its "
        "space, 0.8 to 0.99. A better value may lie outside."
    )
    assert html.count(warning) == 2
    assert html.count("A better value may lie outside.") == 4
    assert (
        html.count("The rankings of the two repetitions agree with Kendall's τ")
        + html.count("The rankings of the two repetitions agree with Kendall&#x27;s τ")
        == 2
    )


def test_a_variant_of_which_nothing_was_chosen_says_so(tmp_path):
    experiments, tuned = many.tuned(tmp_path)
    trials = tuned.trials.copy()
    own = trials["variant"] == "sgd"
    trials.loc[own, "chosen"] = False
    trials.loc[own, "status"] = "failed"
    trials.loc[own, ["score", "best_valid_loss"]] = None
    tuned = replace(tuned, trials=trials, finals=tuned.finals[tuned.finals.variant != "sgd"])
    runs = counted(summary(experiments), tuned)
    _, html = tuning.render(tuned, runs)
    assert html.count("<td>none</td>") == 2 and "4, 4 failed" in html
    _, html = tuning.sensitivity(tuned, runs)
    assert "4, 4 failed" in html


def test_the_best_the_median_and_the_worst_trial():
    trials = pd.DataFrame(
        {
            "variant": ["a", "a", "a", "b", "b", "b", "b"],
            "score": [1.0, 3.0, 2.0, np.nan, 5.0, None, None],
            "best_valid_loss": [-1.0, -3.0, np.inf, 4.0, 5.0, 6.0, 9.0],
        }
    )
    assert spread(trials, "score").loc["a"].tolist() == [3, 2, 1]
    assert spread(trials, "score").loc["b"].tolist() == [5, -np.inf, -np.inf]
    assert spread(trials, "best_valid_loss").loc["a"].tolist() == [-3, -1, np.inf]
    assert spread(trials, "best_valid_loss").loc["b"].tolist() == [4, 5.5, 9]


def test_every_trial_has_a_mark_and_a_diverged_one_is_a_cross(tmp_path):
    experiments, tuned = many.tuned(tmp_path)
    runs = counted(summary(experiments), tuned)
    _, html = tuning.sensitivity(tuned, runs)
    assert html.count("<figure ") == 4
    for title in ("SDR", "SI-SNR improvement", "Best validation loss"):
        assert f"<strong>{title} over the learning rate</strong>" in html
    trials = tuned.trials[tuned.trials["model"] == "svoice"].copy()
    diverged = trials["status"] == "diverged"
    trials.loc[diverged, "score"] = np.nan
    marks = tuning._marks(trials, "score", {})
    crosses = [mark for mark in marks if mark.marker.symbol == "x"]
    assert sum(len(mark.x) for mark in marks) == len(trials) == 12
    assert [mark.name for mark in crosses] == [f"{name}, diverged" for name in many.SPACES]
    worst = trials["score"].min()
    assert {float(y) for mark in crosses for y in mark.y} == {worst}
    assert {mark.legendgroup: mark.meta for mark in marks} == {
        name: f"--{name}" for name in many.SPACES
    }


def test_on_paper_the_figures_name_each_variant_once(tmp_path):
    experiments, tuned = many.tuned(tmp_path)
    page = compare(experiments, tuning=tuned)
    drawn = {name: spec for name, spec in images._figures(page) if "over-the-learning-rate" in name}
    assert len(drawn) == 4
    for spec in drawn.values():
        named = [trace["legendgroup"] for trace in spec["data"] if trace["showlegend"]]
        assert spec["layout"]["showlegend"] and sorted(named) == sorted(many.SPACES)
        assert spec["layout"]["xaxis"]["dtick"] == 1  # each power of ten


def test_rates_over_many_decades_have_few_labels():
    assert log_tick(np.array([3e-5, 20.0])) == 1  # each power of ten
    assert log_tick(np.array([1e-9, 1e9])) == 3
