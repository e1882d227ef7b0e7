"""The pipeline with its trainings in containers, beside the same without."""

import json
import time

import pandas as pd
import pytest

from tests import docker_engine
from tests.pipeline.conftest import OVERRIDES

MODELS = ["spleeter", "svoice"]
CONTAINERS = [*OVERRIDES, "runtime=docker"]


@pytest.fixture(scope="module", autouse=True)
def client():
    return docker_engine.client()


def losses(repository, model):
    return pd.read_csv(repository.root / "results" / model / "steps.csv").loss


def test_in_containers_the_same_is_learnt(repository, client):
    local = {model: losses(repository, model) for model in MODELS}
    # The data are links into DVC's cache, where a container finds them, too.
    repository("dvc", "config", "--local", "cache.type", "symlink")
    repository("dvc", "checkout", "--relink")
    assert all(path.is_symlink() for path in (repository.root / "data").rglob("*.wav"))
    repository.experiment(base=CONTAINERS, name="contained")
    for model in MODELS:
        results = repository.root / "results" / model
        environment = json.loads((results / "environment.json").read_text())
        assert environment["runtime"] == "docker"
        assert client.images.get(environment["image"]).labels["separation.environment"]
        assert losses(repository, model).tolist() == pytest.approx(local[model], rel=1e-4)
        assert json.loads((results / "scores.json").read_text())
    assert not client.containers.list(all=True, filters={"label": "separation.launcher"})
    again = repository("dvc", "repro").stdout
    assert "Running stage" not in again


def test_queued_experiments_run_in_containers_side_by_side(repository, client):
    options = [part for override in CONTAINERS for part in ("-S", override)]
    grid = ["-S", "clipping=none,value", "-S", "optimizer=sgd"]
    repository("dvc", "exp", "run", "--queue", *options, *grid)
    repository("dvc", "queue", "start", "-j", "2")
    most = 0
    for _ in range(600):
        most = max(most, len(client.containers.list(filters={"label": "separation.launcher"})))
        status = repository("dvc", "queue", "status").stdout
        if "Queued" not in status and "Running" not in status:
            break
        time.sleep(1)
    assert status.count("Success") == 2, status
    assert most >= 1
    assert not client.containers.list(all=True, filters={"label": "separation.launcher"})
    shown = json.loads(repository("dvc", "exp", "show", "--json").stdout)
    statuses = [
        exp["revs"][0]["data"]["metrics"]["results/svoice/train.json"]["data"]["status"]
        for commit in shown
        for exp in commit["experiments"] or []
    ]
    assert statuses.count("completed") >= 3
