"""What only podman has: ordinary users, GPUs by descriptions, and a service for one launch."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from contract.errors import InputError
from contract.params import ContainerRuntime
from stages.runtime import containers, engine, images, podman
from stages.runtime.images import CPU_BASE
from tests import engines
from tests.conftest import ROOT
from tests.stages.contained import DEFAULT
from tests.stages.patience import SECONDS, line
from tests.stages.users import GROUP, USER, as_user
from tests.stages.workspaces import environment

RUNTIME = ContainerRuntime(**DEFAULT | {"name": "podman"})


@pytest.fixture(scope="module", params=["podman"])
def client(request):
    with engines.client(request.param) as client:
        yield client


def as_podman_user(home: dict[str, str], function) -> tuple[int, str]:
    """Runs a function as the ordinary user, with a client of podman."""

    def connect() -> int:
        with engine.connected("podman") as own:
            return function(own)

    return as_user(connect, variables=home)


# --- ordinary users -----------------------------------------------------------------------


def test_an_ordinary_user_builds_an_image_and_runs_it(podman_home, folder_of_user, monkeypatch):
    """The wheels are there already, because this user may not use the Python of the tests."""
    shutil.copytree(ROOT / "docker", folder_of_user / "docker")
    requirements = folder_of_user / "docker" / "requirements" / "svoice.txt"
    requirements.write_text(f"six==1.17.0\n# {secrets.token_hex(8)}\n")
    monkeypatch.chdir(folder_of_user)
    python = {"python_version": "3.11", "platform_machine": "x86_64", "glibc": "2.36"}
    images._fetch_wheel("six==1.17.0", folder_of_user.parent, python)
    (wheel,) = folder_of_user.parent.glob("*.whl")

    def gather(model: str, *_: object) -> dict[str, str]:
        folder = images.WHEELS / model
        folder.mkdir(parents=True)
        shutil.copy(wheel, folder)
        line = f"six==1.17.0 --hash=sha256:{images.sha256(wheel)}\n"
        (folder / "wheels.txt").write_text(line)
        return {"six": "1.17.0"}

    monkeypatch.setattr(images, "_gather_wheels", gather)
    program = "import os, six; open('written', 'w').write(six.__version__); os._exit(7)"

    def build_and_run(client: podman.PodmanClient) -> int:
        image = images.find_or_build(client, "svoice", RUNTIME)
        command = ["python", "-c", program]
        return containers.run(client, image, command, "the test", RUNTIME, gpus=[])

    for path in [folder_of_user, *folder_of_user.rglob("*")]:
        os.chown(path, USER, GROUP)
    code, output = as_podman_user(podman_home, build_and_run)
    assert code == 7, output
    written = folder_of_user / "written"
    assert written.read_text() == "1.17.0"
    assert (written.stat().st_uid, written.stat().st_gid) == (USER, GROUP)


# --- GPUs ---------------------------------------------------------------------------------


@pytest.fixture
def gpu():
    """The UUID of what podman takes for a GPU, by a description as NVIDIA's tools write it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to describe a GPU")
    uuid = f"GPU-separation-{secrets.token_hex(8)}"
    edits = {"deviceNodes": [{"path": "/dev/zero"}], "env": [f"GPU={uuid}"]}
    devices = [{"name": uuid, "containerEdits": edits}]
    path = Path("/run/cdi", f"{uuid}.json")
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices})
    path.write_text(text)
    yield uuid
    path.unlink()


def test_a_container_gets_the_gpus_that_are_reserved_for_it(
    gpu, podman_home, folder_of_user, monkeypatch
):
    monkeypatch.chdir(folder_of_user)

    def print_gpu(client: podman.PodmanClient) -> int:
        image = client.images.get(CPU_BASE)
        command = ["sh", "-c", "echo $GPU"]
        return containers.run(client, image, command, "the test", RUNTIME, gpus=[gpu])

    assert as_podman_user(podman_home, print_gpu) == (0, f"{gpu}\n")


def test_a_gpu_without_a_description_is_one_line(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = client.images.get(CPU_BASE)
    with pytest.raises(InputError) as raised:
        containers.run(client, image, ["true"], "the test", RUNTIME, gpus=["GPU-none"])
    assert str(raised.value) == (
        "runtime.gpus: podman has no description of a GPU (unresolvable CDI devices "
        "nvidia.com/gpu=GPU-none); have one made by `nvidia-ctk cdi generate`, or set "
        "runtime.gpus=none"
    )
    assert engines.containers(client, tmp_path) == []


# --- its service --------------------------------------------------------------------------

LAUNCHER = """
from stages.run import run
from stages.runtime import podman
from tests.stages import contained
podman.IDLE_SECONDS = 3
run(contained.main, own_arguments=True)
"""
FOREVER = ["python3", "-uc", "import time; print('started'); time.sleep(3600)"]


def launch(folder: Path, **options: bool) -> subprocess.Popen:
    """Starts a launcher of a command that runs for ever, and waits until the command has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, '{"name": "podman"}', "--", *FOREVER],
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
    assert line(process.stdout) == "started\n"
    return process


def test_ctrl_c_in_a_terminal_ends_and_removes_a_container(client, tmp_path):
    """All processes of the terminal's group get it."""
    process = launch(tmp_path, start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGINT
    assert "ERROR" not in error
    assert engines.containers(client, tmp_path) == []


def test_the_service_lives_as_long_as_its_launcher(client, tmp_path):
    """If the launcher is killed, until the next one has removed the container."""
    process = launch(tmp_path)
    (service,) = psutil.Process(process.pid).children()
    assert service.name() == "podman"
    time.sleep(9)  # three times as long as it waits for a request
    assert service.is_running()
    process.kill()
    process.communicate()
    (container,) = engines.containers(client, tmp_path)
    engine.remove(container)
    service.wait(SECONDS)


def test_a_missing_podman_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError) as raised, engine.connected("podman"):
        pass
    assert str(raised.value) == (
        "runtime=podman: there is no program podman on this machine; "
        "install the package podman or load its module, or use runtime=local"
    )


def test_a_podman_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\necho level=warning >&2; echo 'Error: no room' >&2; exit 125\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InputError) as raised, engine.connected("podman"):
        pass
    assert str(raised.value) == (
        "runtime=podman: podman does not start (Error: no room); see what `podman info` says"
    )
