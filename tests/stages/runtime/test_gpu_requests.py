"""What a container gets of the GPUs that are reserved for it.

A stand-in for NVIDIA's hook is on the PATH of an engine of its own, which so accepts requests for
GPUs. The hook notes what it would hand over.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from contract.params import ContainerRuntime
from stages.runtime import containers, gpus
from stages.runtime.images import CPU_BASE
from tests import engines, nvidia_smi
from tests.conftest import ROOT
from tests.stages.patience import SECONDS
from tests.yaml_files import read_yaml

# Docker looks for a program of this name when it starts, and runs it before each container that is
# to have GPUs, with the container's state on its stdin.
HOOK = """\
import json, sys
from pathlib import Path
config = json.loads(Path(json.load(sys.stdin)["bundle"], "config.json").read_text())
with open({notes!r}, "a") as file:
    print(json.dumps(config["process"]["env"]), file=file)
"""


@dataclass(frozen=True)
class Engine:
    """An engine on which containers may request GPUs.

    Attributes:
        client: its client.
        notes: the file to which the hook adds a line for each container: its variables.
    """

    client: docker.DockerClient
    notes: Path


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Iterator[Engine]:
    """An engine with the stand-in, and with the base image."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("needs root and dockerd")
    folder = tmp_path_factory.mktemp("engine")
    hook, notes, socket = folder / "nvidia-container-runtime-hook", folder / "notes", folder / "s"
    hook.write_text(f"#!{sys.executable}\n" + HOOK.format(notes=str(notes)))
    hook.chmod(0o755)
    places = [f"--{name}={folder / name}" for name in ("data-root", "exec-root", "pidfile")]
    options = [f"--host=unix://{socket}", "--bridge=none", "--iptables=false", "--ip6tables=false"]
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    # An engine without a bridge removes that of the usual engine, unless it cannot see it.
    unshared = ["unshare", "--net"]
    with engines.client("docker") as usual, (folder / "log").open("w") as log:
        daemon = subprocess.Popen(
            [*unshared, "dockerd", *places, *options],
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            client = _connected(daemon, socket, folder / "log")
            client.images.load(usual.images.get(CPU_BASE).save(named=True))
            yield Engine(client, notes)
            client.close()
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(SECONDS)


def _connected(daemon: subprocess.Popen, socket: Path, log: Path) -> docker.DockerClient:
    """Returns a client of an engine that is starting."""
    deadline = time.monotonic() + SECONDS
    while daemon.poll() is None and time.monotonic() < deadline:
        try:
            return docker.DockerClient(f"unix://{socket}")
        except DockerException:
            time.sleep(0.1)
    raise AssertionError(log.read_text()[-2000:])


@pytest.mark.parametrize(
    ("request_", "uuids"),
    [("auto", ["GPU-1"]), (2, ["GPU-1", "GPU-2"]), ("none", []), (["MIG-1"], ["MIG-1"])],
)
def test_a_container_gets_the_gpus_that_are_reserved(
    engine, tmp_path, monkeypatch, capfd, request_, uuids
):
    divided = nvidia_smi.StandIn("GPU-3", parts={"1g.5gb": "MIG-1"})
    whole = [nvidia_smi.StandIn(f"GPU-{k}") for k in (1, 2)]
    programs, workspace = tmp_path / "programs", tmp_path / "workspace"
    programs.mkdir(), workspace.mkdir()
    nvidia_smi.install(monkeypatch, programs, [*whole, divided])
    monkeypatch.chdir(workspace)
    engine.notes.write_text("")
    runtime = ContainerRuntime(**{**read_yaml(ROOT / "conf/runtime/docker.yaml"), "gpus": request_})
    image = engine.client.images.get(CPU_BASE)
    with gpus.reserved(runtime.gpus) as own:
        names = [gpu.uuid for gpu in own]
        command = ["sh", "-c", "echo $SEPARATION_GPUS"]
        code = containers.run(engine.client, image, command, "the test", runtime, names)
    assert (code, capfd.readouterr().out) == (0, f"{len(uuids)}\n")
    noted = [json.loads(line) for line in engine.notes.read_text().splitlines()]
    assert [v for variables in noted for v in variables if v.startswith("NVIDIA_VISIBLE")] == (
        [f"NVIDIA_VISIBLE_DEVICES={','.join(uuids)}"] if uuids else []
    )
