"""Against the study: the files' numbers, and ours where the choices are the same."""

import re

import pytest

from metrics import published
from metrics.experiments import curves, summary
from metrics.report import against
from tests.conftest import ROOT
from tests.metrics import many


@pytest.fixture
def frames(tmp_path):
    found = many.experiments(tmp_path, 24, 200)
    return found, summary(found), curves(found, "steps"), curves(found, "epochs")


def test_final_and_best_are_the_published_ones(frames):
    _, runs, _, epochs = frames
    found = against.final_values(runs[runs.model == "svoice"], epochs[epochs.model == "svoice"])
    assert len(found) == 11
    for run in found.itertuples():
        theirs = published.svoice()
        for choice in ("optimizer", "schedule", "clipping"):
            theirs = theirs[theirs[choice] == getattr(run, choice)]
        assert len(theirs) == 100
        assert run.final_published == theirs.valid_loss.iloc[-1]
        assert run.best_published == theirs.valid_loss.min()


def test_ours_are_the_means_over_the_runs_with_the_same_choices(frames):
    experiments, runs, _, epochs = frames
    found = against.final_values(runs[runs.model == "svoice"], epochs[epochs.model == "svoice"])
    found = found.set_index(["optimizer", "schedule", "clipping"])
    finals = [
        each.workspace.svoice.epochs.valid_loss.iloc[-1]
        for each in experiments
        if each.name.startswith("many-sgd-step-norm")
    ]
    assert found.runs["sgd", "step", "norm"] == len(finals) == 2
    assert found.final["sgd", "step", "norm"] == pytest.approx(sum(finals) / 2)
    assert found.runs["adam", "step", "none"] == 0


def test_runs_are_compared_over_the_steps_that_both_have(frames):
    _, runs, steps, _ = frames
    found = against.first_losses(runs[runs.model == "spleeter"], steps[steps.model == "spleeter"])
    found = found.set_index(["optimizer", "steps"])
    assert len(found) == 7
    assert found.runs["adam", 100] == 4  # one of them diverged at step 100
    assert found.compared["adam", 100] == 100
    theirs = published.spleeter()
    adam = theirs[theirs.optimizer == "adam"]
    assert found.published["adam", 100] == adam[adam.step >= 90].loss.mean()
    assert found.seconds_published["adam", 100] == adam.seconds.median()
    assert 0.3 < found.seconds["adam", 100] < 0.4
    # Ours have 200 of 2,000 steps.
    assert found.runs["nesterov", 2000] > 0
    assert found.compared["nesterov", 2000] == 200
    nesterov = theirs[(theirs.optimizer == "nesterov") & (theirs.steps == 2000)]
    expected = nesterov[(nesterov.step >= 180) & (nesterov.step < 200)].loss.mean()
    assert found.published["nesterov", 2000] == expected
    fifths = nesterov[nesterov.step < 200].seconds.median()
    assert found.seconds_published["nesterov", 2000] == pytest.approx(fifths / 5)


def test_a_short_run_stands_on_the_axes_of_the_published_one(frames):
    experiments, runs, steps, epochs = frames
    short = steps[(steps.model == "svoice") | (steps.step <= 20)]
    _, html = against.compare(experiments, runs, short, epochs)
    assert "adam, 100 steps" in html and "nesterov, 2,000 steps" in html
    found = against.first_losses(runs[runs.model == "spleeter"], short[short.model == "spleeter"])
    assert set(found[found.runs > 0].compared) == {20}


def test_the_section_leads_to_the_page_about_the_study(frames):
    _, html = against.compare(*frames)
    (link,) = re.findall('href="([^"]*study.md)"', html)
    for folder in ("results", "reports"):
        assert (ROOT / folder / link).resolve() == ROOT / "docs" / "study.md"
    assert (ROOT / "docs" / "study.md").is_file()


def test_without_a_published_choice_it_says_so(frames):
    experiments, runs, steps, epochs = frames
    runs = runs.assign(optimizer="nadam")
    _, html = against.compare(experiments, runs, steps, epochs)
    assert "No run here" in html
    assert "<figure" not in html
    _, html = against.compare(*frames)
    assert "study_svoice.csv" in html and "study_spleeter.csv" in html
