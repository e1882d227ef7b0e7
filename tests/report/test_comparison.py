"""The page about several experiments: its tables as CSV, and experiments that did not finish."""

import base64
import io
import re
from dataclasses import replace

import pandas as pd
import pytest

from contract.errors import InputError
from report import images, speed
from report.comparison import compare
from report.experiments import curves, summary
from report.results import Workspace
from tests.report import many


def downloads(html):
    """The tables that a page offers as CSV, by the name of the file."""
    links = re.findall(r'download="([^"]+)" href="data:text/csv;base64,([^"]+)"', html)
    return {name: pd.read_csv(io.BytesIO(base64.b64decode(content))) for name, content in links}


def test_every_table_is_offered_as_csv(tmp_path):
    experiments = many.experiments(tmp_path, 24, 100)
    tables = downloads(compare(experiments))
    by_model = {
        f"{model}_{name}.csv"
        for model in ("spleeter", "svoice")
        for name in ("ranking", "runs", "times", "health")
    }
    study = {"study_svoice.csv", "study_spleeter.csv"}
    shared = {"algoperf_score.csv", "algoperf_times.csv", "provenance.csv"}
    assert set(tables) == by_model | study | shared

    runs = summary(experiments)
    speech = runs[runs["model"] == "svoice"]
    pd.testing.assert_frame_equal(
        tables["svoice_runs.csv"], speech.reset_index(drop=True), check_dtype=False
    )
    ranking = tables["svoice_ranking.csv"]
    scores = ranking[ranking["measure"] == "score"].set_index("variant")
    means = speech.groupby("variant")["score"].mean()
    assert scores["value"].to_dict() == pytest.approx(means.to_dict())
    assert (scores["n"] == 2).all() and (scores["low"] < scores["high"]).all()
    steps, epochs = curves(experiments, "steps"), curves(experiments, "epochs")
    _, times = speed.times(speech, steps, epochs, speech["variant"].iloc[0])
    assert len(tables["svoice_times.csv"]) == len(times)
    assert tables["svoice_health.csv"]["status"].value_counts()["diverged"] == 1
    assert len(tables["provenance.csv"]) == 24


def unfinished(experiment, state, log=""):
    """An experiment without its results."""
    workspace = Workspace.read(experiment.workspace.root)
    workspace = replace(workspace, params=experiment.workspace.params)
    return replace(experiment, workspace=workspace, state=state, log=log)


def test_failed_and_queued_experiments_are_named_as_such(tmp_path):
    first, second, third, *_ = many.experiments(tmp_path, 3, 100)
    failed = unfinished(second, "failed", "ERROR: x.wav: holds <nothing>")
    html = compare([first, failed, unfinished(third, "queued")])
    assert "▲ many-nesterov-step-norm-seed0 failed." in html
    assert "ERROR: x.wav: holds &lt;nothing&gt;" in html
    assert "nesterov (1 of 1 run failed)" in html
    assert "rmsprop (1 of 1 run queued)" in html


def test_a_study_in_which_everything_failed_has_a_page(tmp_path):
    experiments = [
        unfinished(experiment, "failed") for experiment in many.experiments(tmp_path, 2, 50)
    ]
    html = compare(experiments)
    assert html.count("1 of 1 run failed") == 4
    assert "<figure " not in html
    assert "Nothing was scored, so there is nothing to play." in html
    assert images.write(html, tmp_path / "figures") == 0


@pytest.mark.parametrize("trained", [0, 1])
def test_a_model_that_was_not_studied_is_left_out(tmp_path, trained):
    experiments = many.experiments(tmp_path, 4, 50)
    for number, experiment in enumerate(experiments[trained:], start=trained):
        workspace = replace(experiment.workspace, spleeter=Workspace.read(tmp_path).spleeter)
        experiments[number] = replace(experiment, workspace=workspace)
    html = compare(experiments)
    assert "Spleeter was not studied." in html
    assert "<h3>SVoice</h3>" in html and "<h3>Spleeter</h3>" not in html


def test_an_unknown_baseline_is_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        compare(many.experiments(tmp_path, 2, 20), "x")
    names = "many-adam-step-norm-seed0, many-nesterov-step-norm-seed0"
    assert str(caught.value) == f"BASELINE: found 'x', expected one of {names}"


@pytest.mark.parametrize(("repetitions", "unit"), [(1, "seed"), (2, "repetition")])
def test_a_tuned_study_compares_only_the_runs_of_chosen_settings(tmp_path, repetitions, unit):
    experiments, tuning = many.tuned(tmp_path, seeds=3, repetitions=repetitions)
    baseline = tuning.finals[tuning.finals["variant"] == "sgd"]["experiment"].iloc[0]
    html = compare(experiments, baseline, tuning)
    tables = downloads(html)
    assert set(tables["svoice_runs.csv"]["experiment"]) == set(tuning.finals["experiment"])
    assert len(tables["provenance.csv"]) == len(tuning.finals)
    assert len(tables["tuning_trials.csv"]) == 2 * 3 * 4 * repetitions
    ranking = tables["svoice_ranking.csv"]
    assert list(ranking["variant"].unique()) == ["adam", "nesterov", "sgd"]
    assert set(ranking["n"]) == {3 if unit == "seed" else 2}
    assert "How it was tuned" in html and "How sensitive is it?" in html
    assert "the baseline is <em>sgd</em>" in html
    assert f"differences from the baseline, paired by {unit}" in html
    assert f"The workloads are the models × {unit}s." in html
    assert html.count('<p class="answer">') == 2
    assert '<p class="answer">Speech: adam is best at ' in html
    assert '<p class="answer">Music: adam is best at ' in html


def test_without_tuning_there_are_no_sections_about_it(tmp_path):
    html = compare(many.experiments(tmp_path, 2, 50))
    assert "How it was tuned" not in html and "How sensitive is it?" not in html
    assert "with fewer than two seeds in common, the differences may be chance." in html
