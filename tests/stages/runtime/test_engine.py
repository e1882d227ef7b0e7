"""Which containers a launcher removes, among launchers that come and go: with real engines."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import docker
import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from contract.errors import InputError
from stages.runtime import engine
from stages.runtime.images import CPU_BASE
from tests import engines
from tests.stages.workspaces import environment


@pytest.fixture(scope="module", params=engine.ENGINES)
def client(request):
    with engines.client(request.param) as client:
        yield client


@pytest.fixture
def make_container(client):
    """Makes containers that have the label of a launcher. They are removed after the test."""
    made = []

    def make(launcher: str) -> Container:
        labels = {engine.LAUNCHER: launcher}
        made.append(client.containers.create(CPU_BASE, ["sleep", "600"], labels=labels))
        return made[-1]

    yield make
    for container in made:
        engine.remove(container)


def exists(client: docker.DockerClient, container: Container) -> bool:
    try:
        return bool(client.containers.get(container.id))
    except NotFound:
        return False


def connect(client: docker.DockerClient) -> None:
    """Connects to the engine as a launcher does, which removes the containers of dead ones."""
    with engine.connected(engines.name(client)):
        pass


def dead_launcher() -> str:
    """Returns the identity of a launcher that has ended."""
    program = "from stages.runtime import engine; print(engine.launcher())"
    return subprocess.check_output(
        [sys.executable, "-c", program], env=environment(), text=True
    ).strip()


def test_only_the_containers_of_dead_launchers_are_removed(client, make_container):
    """A launcher whose number another process has by now is dead."""
    own = engine.launcher()
    namespace, boot, pid, start_time = own.split("/")
    dead = [
        dead_launcher(),
        f"{namespace}/{boot}/{pid}/{int(start_time) - 1}",
        f"{namespace}/x/{pid}/1",
    ]
    others = [own, f"elsewhere/{boot}/{pid}/1", f"elsewhere:1/{boot}/{pid}/1"]
    made = [make_container(launcher) for launcher in (*dead, *others)]
    connect(client)
    assert [exists(client, container) for container in made] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("launcher", [engine.launcher, dead_launcher])
def test_a_container_that_somebody_else_removes_stops_no_launcher(
    client, make_container, launcher, monkeypatch
):
    """It vanishes between the engine's list and whatever a launcher does with the list."""
    container = make_container(launcher())
    engines.interfere(monkeypatch, "containers", after=lambda: container.remove(force=True))
    connect(client)
    assert not exists(client, container)


def test_removing_waits_for_somebody_else_who_removes(client, make_container, monkeypatch):
    """The engine refuses a second removal while the container may still write."""
    container = make_container(engine.launcher())
    container.start()
    engines.fail(monkeypatch, "remove_container", 409)
    engines.interfere(monkeypatch, "wait", before=container.kill)
    engine.remove(container)
    monkeypatch.undo()
    container.reload()
    assert container.status == "exited"


def test_a_refusal_of_the_engine_is_one_line(client, make_container, monkeypatch):
    make_container(dead_launcher())
    engines.fail(monkeypatch, "remove_container", 500)
    with pytest.raises(InputError) as raised:
        connect(client)
    name = engines.name(client)
    refusals = {
        "docker": "runtime=docker: the Docker engine refused a request (the test says so); "
        "see what `docker info` says about the engine",
        "podman": "runtime=podman: podman refused a request (the test says so); "
        "see what `podman info` says",
    }
    assert str(raised.value) == refusals[name]
    monkeypatch.undo()
    with pytest.raises(InputError), engine.connected(name) as own:
        own.images.get("separation-none-such")


def test_an_engine_that_goes_away_is_one_line(client, monkeypatch):
    with pytest.raises(InputError) as raised, engine.connected(engines.name(client)) as own:
        engines.go_away(monkeypatch)
        own.images.get(CPU_BASE)
    assert str(raised.value) == engines.gone(client)


HIDDEN = """
    import os
    from stages.runtime import engine
    os.setgroups([os.stat("/var/run/docker.sock").st_gid])
    os.setgid(23456)
    os.setuid(12345)
    assert not os.path.exists("/proc/1")
    with engine.connected("docker"):
        pass
"""


@pytest.mark.parametrize("client", ["docker"], indirect=True)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount /proc")
def test_a_launcher_that_cannot_be_seen_is_not_dead(client, make_container):
    """It belongs to another user, and /proc hides the processes of others."""
    container = make_container(engine.launcher())
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, "-c"]
    subprocess.run([*command, textwrap.dedent(HIDDEN)], env=environment(), check=True)
    assert exists(client, container)
