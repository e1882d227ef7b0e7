"""The pipeline from end to end through the real DVC, at the tiniest size. In the order written:
each test goes on from the one before."""

import json
import math
import subprocess
import time

import pandas as pd
import pytest

from tests.pipeline.conftest import OVERRIDES, Repository
from tests.yaml_files import read_yaml

DATA_STAGES = ["fetch_music", "csv_music", "fetch_speech", "mix_speech", "csv_speech"]
TRAINING = ["train_spleeter", "train_svoice"]
MODELS = ["spleeter", "svoice"]


def ran(output: str) -> set[str]:
    """The stages whose commands were run, by DVC's own words."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def read(path) -> pd.DataFrame:
    """A CSV whose numbers are the very ones written."""
    return pd.read_csv(path, float_precision="round_trip")


def results(repository) -> dict[str, bytes]:
    """Everything measured, trained and written down, by path."""
    return {
        str(path.relative_to(repository.root)): path.read_bytes()
        for folder in ("results", "models", "data/csv")
        for path in sorted((repository.root / folder).rglob("*"))
        if path.is_file()
    }


def test_every_file_of_the_contract_is_there_and_consistent(repository):
    for model in MODELS:
        folder = repository.root / "results" / model
        steps, epochs, scores = (
            read(folder / f"{name}.csv") for name in ("steps", "epochs", "scores")
        )
        train = json.loads((folder / "train.json").read_text())
        assert list(steps) == ["step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds"]
        assert list(epochs) == ["epoch", "step", "train_loss", "valid_loss", "best_valid_loss"]
        assert train["status"] == "completed"
        assert train["steps"] == len(steps) == steps.step.iloc[-1]
        assert train["best_valid_loss"] == epochs.valid_loss.min()
        assert train["final_loss"] == steps.loss.iloc[-1]
        assert len(scores) > 0
        assert json.loads((folder / "environment.json").read_text())["runtime"] == "local"
        assert list((folder / "estimates").rglob("*.wav"))
    sdr = json.loads((repository.root / "results/spleeter/scores.json").read_text())["SDR"]
    frame = read(repository.root / "results/spleeter/scores.csv").set_index("target")
    assert sdr["drums"] == frame.SDR["drums"]
    speech = json.loads((repository.root / "results/svoice/scores.json").read_text())
    frame = read(repository.root / "results/svoice/scores.csv")
    assert speech["si_snr_improvement"] == pytest.approx(frame.si_snr_improvement.mean())
    assert "<html" in (repository.root / "results/report.html").read_text()


def test_nothing_large_is_in_git(repository):
    listed = repository("git", "ls-files", "-s", "results", "models", "data").stdout
    names = {line.split("\t")[1] for line in listed.splitlines()}
    metrics = {f"results/{m}/{n}.json" for m in MODELS for n in ("train", "scores", "environment")}
    assert {name for name in names if not name.endswith(".gitignore")} == metrics


def test_again_nothing_runs(repository):
    assert not ran(repository("dvc", "repro").stdout)
    assert "up to date" in repository("dvc", "status").stdout
    assert repository("git", "status", "--porcelain").stdout == ""


def test_another_optimizer_retrains_both_models_and_touches_no_data(repository):
    output = repository.experiment("optimizer=adadelta", name="adadelta").stdout
    assert ran(output).isdisjoint(["environments", *DATA_STAGES])
    assert ran(output).issuperset(TRAINING)
    assert "adadelta" in repository("dvc", "params", "diff").stdout
    metrics = json.loads(repository("dvc", "metrics", "diff", "--json").stdout)
    for model in MODELS:
        assert "best_valid_loss" in metrics[f"results/{model}/train.json"]
    shown = repository("dvc", "exp", "show", "--csv").stdout.splitlines()
    assert any(",adadelta," in line for line in shown)


def test_plots_diff_overlays_both_experiments_for_both_models(repository):
    repository("dvc", "plots", "diff", "base", "adadelta", "-o", "plots")
    page = (repository.root / "plots" / "index.html").read_text()
    defined = {
        title: plot
        for entry in read_yaml(repository.root / "dvc.yaml")["plots"]
        for title, plot in entry.items()
    }
    assert len(defined) == 10
    drawn = repository("dvc", "plots", "diff", "base", "adadelta", "--json").stdout
    plots = json.loads(drawn)["data"]
    for title, definition in defined.items():
        (plot,) = plots[title]
        shown = _titles(plot["content"])
        assert {title, definition["x_label"], definition["y_label"]} <= shown
        points = plot["content"]["data"]["values"]
        assert {point["rev"] for point in points} == {"base", "adadelta"}
        assert title in page


def _titles(spec) -> set[str]:
    """All titles in a Vega-Lite specification: of the plot, of its axes."""
    if isinstance(spec, list):
        return set().union(*map(_titles, spec))
    if not isinstance(spec, dict):
        return set()
    title = spec.get("title")
    text = title.get("text") if isinstance(title, dict) else title
    own = {text} if isinstance(text, str) else set()
    return own.union(*map(_titles, spec.values()))


def test_one_models_learning_rate_retrains_only_that_model(repository):
    output = repository.experiment("optimizer.svoice.lr=1e-3").stdout
    assert ran(output) == {"train_svoice", "evaluate_svoice", "report"}


def test_a_bad_override_changes_nothing(repository):
    before = results(repository)
    params = (repository.root / "params.yaml").read_text()
    for override, problem in (
        ("optimizer=adm", "In 'config': Could not find 'optimizer/adm'; available options in"),
        ("optimizer.svoice.lr=-1", "optimizer.svoice.lr: found -1, expected a number above 0"),
        ("optimiser=sgd", "optimiser: there is no such key; see the keys in params.yaml"),
    ):
        done = repository.experiment(override, check=False)
        assert done.returncode != 0
        assert done.stdout.startswith(f"ERROR: {problem}")
        assert done.stdout.count("\n") == 1
    assert results(repository) == before
    assert (repository.root / "params.yaml").read_text() == params


def test_a_failed_training_leaves_the_previous_results(repository):
    """DVC removes a stage's outputs before it runs: they come back."""
    before = results(repository)
    lists = repository.root / "data/csv"
    for model, data in (("spleeter", "music"), ("svoice", "speech")):
        listed = lists / data / "train.csv"
        kept = listed.read_text()
        listed.unlink()  # DVC's copy may be a link into its cache
        listed.write_text(kept.splitlines()[0] + "\n")
        done = repository("dvc", "repro", "-s", "-f", f"train_{model}", check=False)
        assert done.returncode != 0
        errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR: data/csv")]
        assert len(errors) == 1
        listed.write_text(kept)
    assert results(repository) == before


def test_a_diverged_run_is_a_result(repository):
    output = repository.experiment(
        "optimizer=sgd", "optimizer.svoice.lr=1e30", "clipping=none", name="diverged"
    ).stdout
    assert "train_svoice" in ran(output)
    folder = repository.root / "results" / "svoice"
    train = json.loads((folder / "train.json").read_text())
    assert train["status"] == "diverged"
    steps = read(folder / "steps.csv")
    assert not math.isfinite(steps.loss.iloc[-1])
    assert train["steps"] == len(steps)
    assert train["final_loss"] is None
    assert "diverged" in (repository.root / "results/report.html").read_text()


def test_queued_experiments_run_side_by_side_in_temporary_workspaces(repository):
    options = [part for override in OVERRIDES for part in ("-S", override)]
    grid = ["-S", "clipping=none,norm", "-S", "optimizer=sgd"]
    repository("dvc", "exp", "run", "--queue", *options, *grid)
    repository("dvc", "queue", "start", "-j", "2")
    for _ in range(600):
        status = repository("dvc", "queue", "status").stdout
        if "Queued" not in status and "Running" not in status:
            break
        time.sleep(1)
    assert status.count("Success") == 2, status


def test_a_run_cache_hit_where_the_default_data_were_never_made(repository, tmp_path):
    """The lists of the committed dvc.lock are in nobody's cache here."""
    subprocess.run(["git", "clone", "-q", repository.root, tmp_path / "clone"], check=True)
    fresh = Repository(tmp_path / "clone")
    other = [override for override in OVERRIDES if "mixtures" not in override]
    other += [f"speech.mixtures.{split}=3" for split in ("train", "valid", "test")]
    options = [part for override in other for part in ("-S", override)]
    command = ["dvc", "exp", "run", *options]
    first = fresh(*command, "--temp", "evaluate_svoice").stdout
    assert "Running stage 'train_svoice'" in first
    for place in (["--temp"], []):
        again = fresh(*command, *place, "evaluate_svoice").stdout
        assert "Running stage 'train_svoice'" not in again
    assert (fresh.root / "results/svoice/scores.json").is_file()
