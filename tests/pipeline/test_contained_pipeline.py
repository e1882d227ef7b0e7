"""The pipeline learns the same with its trainings in containers as without."""

import fcntl
import json
import queue
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pandas as pd
import pytest
from docker.errors import NotFound

from contract.params import ContainerRuntime
from stages.runtime import containers, distribution, images
from stages.runtime.engine import LAUNCHER
from tests import engines
from tests.conftest import ROOT
from tests.pipeline.conftest import OVERRIDES, Repository
from tests.yaml_files import read_yaml

MODELS = ["spleeter", "svoice"]
CONTAINERS = [*OVERRIDES, "runtime=docker"]
SCORES = "results/svoice/scores.json"
STATUSES = {"Queued", "Running", "Success", "Failed"}
SECONDS = 1800  # for two trainings on a busy machine


@pytest.fixture(scope="module", autouse=True)
def client():
    """A client of the Docker engine."""
    with engines.client("docker") as client:
        yield client


def losses(repository: Repository, model: str) -> pd.Series:
    """The loss of each step."""
    return pd.read_csv(repository.root / "results" / model / "steps.csv").loss


def test_trainings_in_containers_learn_the_same(repository, client):
    local = {model: losses(repository, model) for model in MODELS}
    # A container has to find the data when they are links into DVC's cache.
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
        assert json.loads((results / "details.json").read_text())
    assert not engines.containers(client, repository.root)
    assert "Running stage" not in repository("dvc", "repro").stdout


# The processes of a training meet and add up how many they are.
MEET = """
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
count = torch.ones(1)
dist.all_reduce(count)
if dist.get_rank() == 0:
    print(f"{count.item():.0f} processes", flush=True)
dist.destroy_process_group()
"""


def test_processes_of_a_training_meet_in_a_container_without_a_network(
    client, tmp_path, monkeypatch, capfd
):
    runtime = ContainerRuntime(**read_yaml(ROOT / "conf/runtime/docker.yaml"))
    monkeypatch.chdir(ROOT)
    image = images.find_or_build(client, "svoice", runtime)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meet.py").write_text(MEET)
    command = distribution.on_one_node("svoice", "python", ["-m", "meet"], gpus=2)
    code = containers.run(client, image, command, "the test", runtime, gpus=[])
    assert (code, capfd.readouterr().out) == (0, "2 processes\n")


def test_queued_experiments_run_in_containers_side_by_side(repository, client):
    """The trainings of two experiments wait until both have begun."""
    overrides = [*CONTAINERS, "clipping=none,value", "optimizer=sgd"]
    names = queue_experiments(repository, overrides)
    assert len(names) == 2
    # A training of Spleeter locks its cache of songs while it looks them up. As long as this
    # process holds the locks, no training gets beyond its beginning.
    with ExitStack() as locks, Events(client, repository.root) as events:
        paths = list((repository.root / "scratch" / "spleeter" / "cache").glob("*.lock"))
        assert paths
        for path in paths:
            fcntl.flock(locks.enter_context(path.open()), fcntl.LOCK_EX)
        repository("dvc", "queue", "start", "-j", "2")
        events.wait_until(lambda: len(set(events.running.values())) == 2)
        locks.close()
        statuses = read_statuses(repository.wait_for_queue(SECONDS))
    assert {name: statuses[name] for name in names} == dict.fromkeys(names, "Success")
    assert not engines.containers(client, repository.root)
    shown = json.loads(repository("dvc", "exp", "show", "--json").stdout)
    scores = {
        experiment["name"]: experiment["revs"][0]["data"]["metrics"][SCORES]["data"]
        for commit in shown
        for experiment in commit["experiments"] or []
        if experiment["name"] in names
    }
    assert scores.keys() == names
    for of_experiment in scores.values():
        assert of_experiment["SI-SNRi"] is not None
        assert "svoice" not in of_experiment, "it diverged"


def queue_experiments(repository: Repository, overrides: list[str]) -> set[str]:
    """Queues the experiments of a grid and returns their names."""
    options = [part for override in overrides for part in ("-S", override)]
    output = repository("dvc", "exp", "run", "--queue", *options).stdout
    return set(re.findall(r"Queued experiment '([^']+)'", output))


def read_statuses(status: str) -> dict[str, str]:
    """The status of each experiment in DVC's queue, by its name, from `dvc queue status`."""
    rows = [line.split() for line in status.splitlines() if line.split()[-1:] != ["Status"]]
    return {row[1]: row[-1] for row in rows if row[-1:] and row[-1] in STATUSES}


class Events:
    """The starts and ends of the containers of a repository's experiments, as they happen.

    Args:
        client: of the engine.
        root: the repository.

    Attributes:
        running: the workspace of its experiment, by the id of each running container.
    """

    def __init__(self, client: docker.DockerClient, root: Path) -> None:
        self._client, self._root = client, root
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.running: dict[str, Path] = {}

    def __enter__(self) -> "Events":
        filters = {"label": LAUNCHER, "event": ["start", "die"]}
        self._stream = self._client.events(filters=filters, decode=True)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _listen(self) -> None:
        for event in self._stream:
            self._events.put(event)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Follows the events until a condition holds."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            event = self._events.get(timeout=max(0, deadline - time.monotonic()))
            if event["Action"] == "die":
                self.running.pop(event["id"], None)
                continue
            try:
                details = self._client.api.inspect_container(event["id"])
            except NotFound:  # it has ended, and the event of that follows
                continue
            workspace = Path(details["Config"]["WorkingDir"])
            if workspace.is_relative_to(self._root / ".dvc" / "tmp" / "exps"):
                self.running[event["id"]] = workspace
