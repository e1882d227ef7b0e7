"""The pipeline with its trainings in containers, beside the same without."""

import fcntl
import json
import queue
import re
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
from docker.errors import NotFound

from stages.runtime.engine import LAUNCHER
from tests import docker_engine
from tests.pipeline.conftest import OVERRIDES

pytestmark = pytest.mark.docker

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
    assert not docker_engine.containers(client, repository.root)
    again = repository("dvc", "repro").stdout
    assert "Running stage" not in again


def test_queued_experiments_run_in_containers_side_by_side(repository, client):
    grid = ["clipping=none,value", "optimizer=sgd"]
    side_by_side(repository, client, grid)


def side_by_side(repository, client, grid):
    """Queues the two experiments of a grid for two workers, and has a training of each wait for the
    other's to begin."""
    options = [part for override in (*CONTAINERS, *grid) for part in ("-S", override)]
    names = set(queued(repository, options))
    assert len(names) == 2
    # What is stored of the songs is for one process at a time to look for. While this one has it,
    # no training of Spleeter gets beyond its beginning.
    with ExitStack() as held, Events(client, repository.root) as events:
        for path in (repository.root / "scratch" / "spleeter" / "cache").glob("*.lock"):
            fcntl.flock(held.enter_context(path.open()), fcntl.LOCK_EX)
        repository("dvc", "queue", "start", "-j", "2")
        events.until(lambda: len(set(events.running.values())) == 2)
        held.close()
        status = ended(repository, names)
    assert status == dict.fromkeys(names, "Success")
    assert not docker_engine.containers(client, repository.root)
    shown = json.loads(repository("dvc", "exp", "show", "--json").stdout)
    trained = {
        exp["name"]: exp["revs"][0]["data"]["metrics"]["results/svoice/train.json"]["data"]
        for commit in shown
        for exp in commit["experiments"] or []
        if exp["name"] in names
    }
    assert {train["status"] for train in trained.values()} == {"completed"}
    assert trained.keys() == names


def queued(repository, options):
    """Queues experiments and yields their names."""
    said = repository("dvc", "exp", "run", "--queue", *options).stdout
    return re.findall(r"Queued experiment '([^']+)'", said)


def ended(repository, names):
    """Waits for experiments of the queue: name and how it ended."""
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit:
        status = statuses(repository)
        ended = {name: status[name] for name in names}
        if not {"Queued", "Running"} & set(ended.values()):
            return ended
        time.sleep(1)
    pytest.fail(repository("dvc", "queue", "status").stdout)


def statuses(repository):
    """Of the queue: name and status."""
    lines = repository("dvc", "queue", "status").stdout.splitlines()
    rows = [line.split() for line in lines if line.split()[-1:] != ["Status"]]
    return {row[1]: row[-1] for row in rows if row[-1:] and row[-1] in STATUSES}


STATUSES = {"Queued", "Running", "Success", "Failed"}
SECONDS = 1800  # for two trainings on a busy machine


class Events:
    """What the engine tells of the containers of experiments, as it happens.

    running: container and the workspace of its experiment, of all that run.
    """

    def __init__(self, client, root):
        self.client, self.root = client, root
        self.running = {}
        self.told = queue.Queue()

    def __enter__(self):
        filters = {"label": LAUNCHER, "event": ["start", "die"]}
        self.stream = self.client.events(filters=filters, decode=True)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stream.close()

    def _listen(self):
        for event in self.stream:
            self.told.put(event)

    def until(self, fulfilled):
        """Follows the events until a condition holds."""
        limit = time.monotonic() + SECONDS
        while not fulfilled():
            event = self.told.get(timeout=max(0, limit - time.monotonic()))
            if event["Action"] == "die":
                self.running.pop(event["id"], None)
                continue
            try:
                details = self.client.api.inspect_container(event["id"])
            except NotFound:  # it has ended: its other event follows
                continue
            workspace = Path(details["Config"]["WorkingDir"])
            if workspace.is_relative_to(self.root / ".dvc" / "tmp" / "exps"):
                self.running[event["id"]] = workspace
