"""Experiments out of DVC, from a repository with commits as DVC makes them."""

import subprocess
import sys
from pathlib import Path

import pytest

from metrics import experiments, revisions
from metrics.errors import InputError
from tests.metrics.files import write_training
from tests.yaml_files import write_yaml


def dvc(root: Path, *arguments: str) -> None:
    command = [Path(sys.prefix, "bin", "dvc"), *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.email=tests@example.org", "-c", "user.name=Tests"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


CURVES = ["results/svoice/steps.csv", "results/svoice/epochs.csv"]


def write_lock(root: Path, optimizer: str) -> None:
    """As DVC writes it: what SVoice was trained with."""
    stage = {"cmd": "train", "params": {"params.yaml": {"optimizer.name": optimizer}}}
    lock = {"schema": "2.0", "stages": {"train_svoice": stage}}
    write_yaml(root / "dvc.lock", lock)


@pytest.fixture
def repository(workspace):
    """Two experiments, as tags: curves in DVC's cache, the rest in git."""
    root = workspace.root
    (root / "data" / "music").unlink()
    (root / "data" / "speech").unlink()
    git(root, "init", "-q")
    dvc(root, "init", "-q")
    for name, optimizer, steps in (("one", "adam", 30), ("two", "sgd", 20)):
        workspace.params["optimizer"]["name"] = optimizer
        workspace.write_params()
        write_training(root, "svoice", steps=steps)
        write_lock(root, optimizer)
        dvc(root, "add", "-q", *CURVES)
        git(root, "add", "-A")
        git(root, "commit", "-qm", name)
        git(root, "tag", name)
    return root


def test_they_are_read_without_touching_the_workspace(repository, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*") if path.is_file()}
    found = revisions.read(repository, ["one", "two"], tmp_path / "read")
    assert [len(each.workspace.svoice.steps) for each in found] == [30, 20]
    summary = experiments.summary(found)
    speech = summary[summary.model == "svoice"]
    assert speech.experiment.tolist() == speech.variant.map({"adam": "one", "sgd": "two"}).tolist()
    assert set(speech.status) == {"completed"}
    assert set(summary[summary.model == "spleeter"].status) == {"missing"}
    steps = experiments.curves(found, "steps")
    assert steps.groupby("experiment").size().to_dict() == {"one": 30, "two": 20}
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


def test_results_of_other_settings_are_not_the_experiments_own(repository, tmp_path):
    """As where an experiment ran the stages of one model: the other's results are older."""
    repository.joinpath("params.yaml").write_text("optimizer: {name: nadam}\n")
    git(repository, "commit", "-qam", "other settings, the results of before")
    (found,) = revisions.read(repository, ["HEAD"], tmp_path / "read")
    assert found.workspace.params == {"optimizer": {"name": "nadam"}}
    assert found.workspace.svoice.train is None and found.workspace.svoice.steps is None


def test_what_the_cache_lost_is_missing_and_no_more(repository, tmp_path):
    for path in (repository / ".dvc" / "cache").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    (one,) = revisions.read(repository, ["one"], tmp_path / "read")
    assert one.workspace.svoice.steps is None
    assert one.workspace.svoice.train["status"] == "completed"


def test_an_unknown_revision_is_one_line(repository, tmp_path):
    with pytest.raises(InputError, match=r"^REVS: found 'none-such', expected an experiment or a"):
        revisions.read(repository, ["none-such"], tmp_path / "read")


def configured(optimizer="adam", rate=1e-3, schedule="step", seed=0, **more):
    return {
        "optimizer": {"name": optimizer, "svoice": {"lr": rate}},
        "schedule": {"name": schedule},
        "seed": seed,
        **more,
    }


def test_variants_are_named_by_what_differs():
    labels = experiments.variants
    assert labels([configured(), configured("sgd", 0.1)]) == ["adam", "sgd"]
    assert labels([configured(seed=0), configured(seed=1)]) == ["adam", "adam"]
    both = [configured("adam", schedule="step"), configured("sgd", 0.1, schedule="plateau")]
    assert labels(both) == ["adam · step", "sgd · plateau"]
    rates = [configured(rate=1e-3), configured(rate=1e-2), configured("sgd", 0.1)]
    assert labels(rates) == [
        "adam · optimizer.svoice.lr=0.001",
        "adam · optimizer.svoice.lr=0.01",
        "sgd · optimizer.svoice.lr=0.1",
    ]
    sizes = [configured(svoice={"N": 64}), configured(svoice={"N": 128})]
    assert labels(sizes) == ["svoice.N=64", "svoice.N=128"]
    places = [configured(runtime={"name": "local"}), configured(runtime={"name": "docker"})]
    assert labels(places) == ["adam", "adam"]
