"""The comparison with the study: its published numbers, and those here with the same choices."""

import re

import pytest

from contract.yaml_files import value_at
from report import against, published
from report.experiments import curves, summary
from studies.definition import experiments, read_study
from tests.conftest import ROOT
from tests.contract.test_params import composed
from tests.report import many


@pytest.fixture
def frames(tmp_path):
    """24 experiments, with their summary, steps and epochs."""
    experiments = many.experiments(tmp_path, 24, 200)
    steps, epochs = curves(experiments, "steps"), curves(experiments, "epochs")
    return experiments, summary(experiments), steps, epochs


def of_model(model, *frames):
    """The rows of one model."""
    return [frame[frame.model == model] for frame in frames]


def test_final_and_best_are_the_published_ones(frames):
    _, runs, _, epochs = frames
    values = against.final_values(*of_model("svoice", runs, epochs))
    assert len(values) == 11
    for run in values.itertuples():
        history = published.svoice()
        for choice in ("optimizer", "schedule", "clipping"):
            history = history[history[choice] == getattr(run, choice)]
        assert len(history) == 100
        assert run.final_published == history.valid_loss.iloc[-1]
        assert run.best_published == history.valid_loss.min()


def test_values_here_are_means_over_the_runs_with_the_same_choices(frames):
    experiments, runs, _, epochs = frames
    values = against.final_values(*of_model("svoice", runs, epochs))
    values = values.set_index(["optimizer", "schedule", "clipping"])
    finals = [
        experiment.workspace.svoice.epochs.valid_loss.iloc[-1]
        for experiment in experiments
        if experiment.name.startswith("many-sgd-step-norm")
    ]
    assert values.runs["sgd", "step", "norm"] == len(finals) == 2
    assert values.final["sgd", "step", "norm"] == pytest.approx(sum(finals) / 2)
    assert values.runs["adam", "step", "none"] == 0


def test_runs_are_compared_over_the_steps_that_both_have(frames):
    _, runs, steps, _ = frames
    losses = against.first_losses(*of_model("spleeter", runs, steps))
    losses = losses.set_index(["optimizer", "steps"])
    assert len(losses) == 7
    assert losses.runs["adam", 100] == 4  # one of them diverged at step 100
    assert losses.compared["adam", 100] == 100
    logs = published.spleeter()
    adam = logs[logs.optimizer == "adam"]
    assert losses.published["adam", 100] == adam[adam.step >= 90].loss.mean()
    assert losses.seconds_published["adam", 100] == adam.seconds.median()
    assert 0.3 < losses.seconds["adam", 100] < 0.4
    # The runs here have 200 of the 2,000 steps.
    assert losses.runs["nesterov", 2000] == 4
    assert losses.compared["nesterov", 2000] == 200
    nesterov = logs[(logs.optimizer == "nesterov") & (logs.steps == 2000)]
    expected = nesterov[(nesterov.step >= 180) & (nesterov.step < 200)].loss.mean()
    assert losses.published["nesterov", 2000] == expected
    fifth_steps = nesterov[nesterov.step < 200].seconds.median()
    assert losses.seconds_published["nesterov", 2000] == pytest.approx(fifth_steps / 5)


def test_a_short_run_is_drawn_beside_the_published_one(frames):
    experiments, runs, steps, epochs = frames
    short = steps[(steps.model == "svoice") | (steps.step <= 20)]
    _, html = against.compare(experiments, runs, short, epochs)
    assert "adam, 100 steps" in html and "nesterov, 2,000 steps" in html
    losses = against.first_losses(*of_model("spleeter", runs, short))
    assert set(losses[losses.runs > 0].compared) == {20}


def test_the_section_links_to_the_page_about_the_study(frames):
    _, html = against.compare(*frames)
    (link,) = re.findall('href="([^"]*study.md)"', html)
    for folder in ("results", "reports"):
        assert (ROOT / folder / link).resolve() == ROOT / "docs" / "study.md"
    assert (ROOT / "docs" / "study.md").is_file()


def test_without_a_run_of_a_published_choice_the_section_says_so(frames):
    experiments, runs, steps, epochs = frames
    runs = runs.assign(optimizer="nadam")
    _, html = against.compare(experiments, runs, steps, epochs)
    notice = "No run here has the optimizer, schedule and clipping of a published one."
    assert html.count(notice) == 1
    assert "<figure" not in html
    _, html = against.compare(*frames)
    assert notice not in html
    assert "study_svoice.csv" in html and "study_spleeter.csv" in html


def simplified(text: str) -> str:
    """A text without case, spaces and punctuation."""
    return re.sub("[^a-z0-9]", "", text.lower())


@pytest.mark.parametrize(
    ("name", "setup"),
    [
        ("published_svoice", against.PUBLISHED_SPEECH),
        ("published_spleeter", against.PUBLISHED_MUSIC),
    ],
)
def test_the_set_up_of_the_study_is_that_of_its_repetition_here(name, setup, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = read_study(name)
    runs = [composed(*study.overrides, *run.overrides) for run in experiments(name, study)]
    for published_value, keys in setup.values():
        values = {value_at(params, key) for params in runs for key in keys}
        if all(type(value) in (int, float) for value in values):
            numbers = re.findall(r"\d+(?:\.\d+)?", published_value)
            assert set(map(float, numbers)) == values, published_value
        else:
            (value,) = values
            assert simplified(str(value)) in simplified(published_value)
