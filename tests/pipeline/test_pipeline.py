"""The pipeline runs from end to end with the real DVC, at the smallest size.

The tests run in this order: each continues from the one before.
"""

import json
import math
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from contract.scores import BEST_LOSS
from tests.conftest import IN_CI
from tests.pipeline.conftest import OVERRIDES, Repository
from tests.yaml_files import read_yaml

AFTER_THE_DATA = {
    *("settings", "train_spleeter", "train_svoice", "evaluate_spleeter", "evaluate_svoice"),
    *("summarise_spleeter", "summarise_svoice", "report"),
}
OF_SVOICE = {"settings", "train_svoice", "evaluate_svoice", "summarise_svoice", "report"}
MODELS = ["spleeter", "svoice"]
SECONDS = 1800  # for two experiments on a busy machine


def stages_run(output: str) -> set[str]:
    """The stages whose commands DVC ran, by what it printed."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file, with exactly the numbers that were written."""
    return pd.read_csv(path, float_precision="round_trip")


def outputs(repository: Repository) -> dict[str, bytes]:
    """The contents of all results, models and lists, by path."""
    return {
        str(path.relative_to(repository.root)): path.read_bytes()
        for folder in ("results", "models", "data/csv")
        for path in sorted((repository.root / folder).rglob("*"))
        if path.is_file()
    }


def test_every_record_and_score_is_there_and_consistent(repository):
    for model in MODELS:
        folder = repository.root / "results" / model
        steps, epochs, scores = (
            read_table(folder / f"{name}.csv") for name in ("steps", "epochs", "scores")
        )
        train = json.loads((folder / "train.json").read_text())
        assert list(steps) == ["step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds"]
        assert list(epochs) == ["epoch", "step", "train_loss", "valid_loss", "best_valid_loss"]
        assert train["status"] == "completed"
        assert train["steps"] == len(steps) == steps.step.iloc[-1]
        assert train["best_valid_loss"] == epochs.valid_loss.min()
        assert train["final_loss"] == steps.loss.iloc[-1]
        assert len(scores) == 4  # stems of the song, or two mixtures of two speakers
        assert json.loads((folder / "environment.json").read_text())["runtime"] == "local"
        assert len(list((folder / "estimates").rglob("*.wav"))) == 4
    sdr = json.loads((repository.root / "results/spleeter/details.json").read_text())["SDR"]
    frame = read_table(repository.root / "results/spleeter/scores.csv").set_index("target")
    assert sdr["drums"] == frame.SDR["drums"]
    speech = json.loads((repository.root / "results/svoice/details.json").read_text())
    frame = read_table(repository.root / "results/svoice/scores.csv")
    assert speech["si_snr_improvement"] == pytest.approx(frame.si_snr_improvement.mean())
    assert "<html" in (repository.root / "results/report.html").read_text()


def test_of_the_results_only_scores_and_environments_are_in_git(repository):
    listed = repository("git", "ls-files", "-s", "results", "models", "data").stdout
    names = {line.split("\t")[1] for line in listed.splitlines()}
    expected = {
        f"results/{model}/{name}.json" for model in MODELS for name in ("scores", "environment")
    }
    assert {name for name in names if not name.endswith(".gitignore")} == expected


def test_a_second_run_does_nothing(repository):
    assert not stages_run(repository("dvc", "repro").stdout)
    assert "up to date" in repository("dvc", "status").stdout
    assert repository("git", "status", "--porcelain").stdout == ""


def test_another_optimizer_retrains_both_models_and_touches_no_data(repository):
    output = repository.experiment("optimizer=adadelta", name="adadelta").stdout
    assert stages_run(output) == AFTER_THE_DATA
    assert "adadelta" in repository("dvc", "params", "diff").stdout
    metrics = json.loads(repository("dvc", "metrics", "diff", "--json").stdout)
    for model in MODELS:
        assert BEST_LOSS[model] in metrics[f"results/{model}/scores.json"]
    shown = repository("dvc", "exp", "show", "--csv").stdout.splitlines()
    assert any(",adadelta," in line for line in shown)


def test_plots_diff_overlays_both_experiments_for_both_models(repository):
    repository("dvc", "plots", "diff", "base", "adadelta", "-o", "plots")
    page = (repository.root / "plots" / "index.html").read_text()
    definitions = {
        title: plot
        for entry in read_yaml(repository.root / "dvc.yaml")["plots"]
        for title, plot in entry.items()
    }
    assert len(definitions) == 10
    output = repository("dvc", "plots", "diff", "base", "adadelta", "--json").stdout
    plots = json.loads(output)["data"]
    for title, definition in definitions.items():
        (plot,) = plots[title]
        titles = _titles(plot["content"])
        assert {title, definition["x_label"], definition["y_label"]} <= titles
        points = plot["content"]["data"]["values"]
        assert {point["rev"] for point in points} == {"base", "adadelta"}
        assert title in page


def test_the_page_of_plots_is_drawn_without_network(repository, browser):
    repository("dvc", "plots", "diff", "base", "adadelta", "-o", "plots")
    context = browser.new_context(offline=True, viewport={"width": 1500, "height": 900})
    page = context.new_page()
    events = []
    # Vega warns of what DVC's templates are like.
    page.on("console", lambda m: events.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: events.append(str(error)))
    page.on("request", lambda request: events.append(request.url))
    address = (repository.root / "plots" / "index.html").as_uri()
    page.goto(address)
    plots = page.locator("main > div")
    assert plots.count() == 10
    page.wait_for_function(
        "document.querySelectorAll('main > div canvas, main > div svg').length >= 10"
    )
    boxes = [plots.nth(number).bounding_box() for number in range(10)]
    assert len({box["x"] for box in boxes}) == 2  # columns
    assert page.title() == "Plots of experiments"
    assert page.evaluate("document.characterSet") == "UTF-8"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
    assert events == [address]


def _titles(spec: object) -> set[str]:
    """All titles in a Vega-Lite specification, those of the plot and of its axes."""
    if isinstance(spec, list):
        return set().union(*map(_titles, spec))
    if not isinstance(spec, dict):
        return set()
    title = spec.get("title")
    text = title.get("text") if isinstance(title, dict) else title
    own = {text} if isinstance(text, str) else set()
    return own.union(*map(_titles, spec.values()))


def test_the_learning_rate_of_one_model_retrains_only_that_model(repository):
    output = repository.experiment("optimizer.svoice.lr=1e-3").stdout
    assert stages_run(output) == OF_SVOICE


def test_a_wrong_override_changes_nothing(repository):
    before = outputs(repository)
    params = (repository.root / "configuration.yaml").read_text()
    for override, message in (
        (
            "optimizer=adm",
            "optimizer: found 'adm', expected one of "
            "adadelta, adagrad, adam, adamax, adamw, lion, momentum, muon, nadam, nesterov, "
            "prodigy, rmsprop, schedulefree, sgd",
        ),
        ("optimizer.svoice.lr=-1", "optimizer.svoice.lr: found -1, expected a number above 0"),
        ("optimiser=sgd", "optimiser: there is no such key; see the keys in configuration.yaml"),
    ):
        done = repository.experiment(override, check=False)
        assert done.returncode == 1
        assert done.stdout == f"ERROR: {message}\n"
    assert outputs(repository) == before
    assert (repository.root / "configuration.yaml").read_text() == params


def test_a_failed_training_keeps_the_previous_results(repository):
    """DVC removes a stage's outputs before it runs the stage, so they have to be put back."""
    before = outputs(repository)
    lists = repository.root / "data/csv"
    for model, data in (("spleeter", "music"), ("svoice", "speech")):
        train_list = lists / data / "train.csv"
        text = train_list.read_text()
        train_list.unlink()  # it may be a link into DVC's cache
        train_list.write_text(text.splitlines()[0] + "\n")
        done = repository("dvc", "repro", "-s", "-f", f"train_{model}", check=False)
        assert done.returncode == 255  # DVC's own
        errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR: data/csv")]
        remedy = "correct the list, or make it again with `dvc repro`"
        assert errors == [f"ERROR: data/csv/{data}/train.csv: has no rows; {remedy}"]
        train_list.write_text(text)
    assert outputs(repository) == before


def test_a_diverged_run_is_a_result(repository):
    output = repository.experiment("optimizer.svoice.lr=1e30", name="diverged").stdout
    assert stages_run(output) == OF_SVOICE
    folder = repository.root / "results" / "svoice"
    train = json.loads((folder / "train.json").read_text())
    assert train["status"] == "diverged"
    steps = read_table(folder / "steps.csv")
    assert not math.isfinite(steps.loss.iloc[-1])
    assert train["steps"] == len(steps)
    assert train["final_loss"] is None
    report = (repository.root / "results/report.html").read_text()
    assert f"▲ SVoice diverged at step {len(steps)}.</strong>" in report


def test_queued_experiments_run_side_by_side_in_temporary_workspaces(repository):
    """In CI they train both models, elsewhere SVoice alone."""
    options = [part for override in OVERRIDES for part in ("-S", override)]
    both = ["-S", "clipping=none,norm", "-S", "optimizer=sgd"]
    grid = both if IN_CI else ["-S", "optimizer.svoice.lr=2e-3,3e-3"]
    repository("dvc", "exp", "run", "--queue", *options, *grid)
    repository("dvc", "queue", "start", "-j", "2")
    status = repository.wait_for_queue(SECONDS)
    assert status.count("Success") == 2, status


def test_the_run_cache_works_in_a_clone_that_never_made_the_default_data(repository, tmp_path):
    """The lists that the committed dvc.lock names are in no cache of the clone."""
    subprocess.run(["git", "clone", "-q", repository.root, tmp_path / "clone"], check=True)
    clone = Repository(tmp_path / "clone")
    overrides = [override for override in OVERRIDES if "mixtures" not in override]
    overrides += [f"speech.mixtures.{split}=3" for split in ("train", "valid", "test")]
    options = [part for override in overrides for part in ("-S", override)]
    command = ["dvc", "exp", "run", *options]
    output = clone(*command, "--temp", "evaluate_svoice").stdout
    assert "train_svoice" in stages_run(output)
    for place in (["--temp"], []):
        output = clone(*command, *place, "evaluate_svoice").stdout
        assert "train_svoice" not in stages_run(output)
    assert (clone.root / "results/svoice/details.json").is_file()
