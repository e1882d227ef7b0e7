"""Which containers a launcher removes, among launchers that come and go: with the real engine."""

import os
import subprocess
import sys
import textwrap

import docker
import pytest
import requests
from docker.errors import NotFound

from metrics.errors import InputError
from stages import engine
from stages.images import CPU_BASE
from tests import docker_engine
from tests.stages.workspaces import environment


@pytest.fixture(scope="module")
def client():
    return docker_engine.client()


@pytest.fixture
def container(client):
    """Makes containers with a label of a launcher. They are removed."""
    made = []

    def make(launcher):
        labels = {engine.LAUNCHER: launcher}
        made.append(client.containers.create(CPU_BASE, ["sleep", "600"], labels=labels))
        return made[-1]

    yield make
    for each in made:
        engine.remove(each)


def is_there(client, container):
    try:
        return bool(client.containers.get(container.id))
    except NotFound:
        return False


def sweep():
    with engine.connected():
        pass


def dead():
    """A launcher that has ended."""
    program = "from stages import engine; print(engine.launcher())"
    return subprocess.check_output(
        [sys.executable, "-c", program], env=environment(), text=True
    ).strip()


def test_only_those_of_dead_launchers_are_removed(client, container):
    """A number that another process has by now is no life."""
    own = engine.launcher()
    where, boot, number, started = own.split("/")
    orphans = [dead(), f"{where}/{boot}/{number}/{int(started) - 1}", f"{where}/x/{number}/1"]
    others = [own, f"elsewhere/{boot}/{number}/1", f"elsewhere:1/{boot}/{number}/1"]
    made = [container(launcher) for launcher in (*orphans, *others)]
    sweep()
    assert [is_there(client, each) for each in made] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("launcher", [engine.launcher, dead])
def test_what_another_removes_meanwhile_stops_no_launcher(client, container, launcher, monkeypatch):
    """Between the list and whatever is done with it."""
    other = container(launcher())
    docker_engine.meanwhile(monkeypatch, "containers", after=lambda: other.remove(force=True))
    sweep()
    assert not is_there(client, other)


def test_who_removes_it_meanwhile_is_waited_for(client, container, monkeypatch):
    """The engine refuses a second removal while the container may still write."""
    mine = container(engine.launcher())
    mine.start()
    docker_engine.failing(monkeypatch, "remove_container", 409)
    docker_engine.meanwhile(monkeypatch, "wait", before=mine.kill)
    engine.remove(mine)
    monkeypatch.undo()
    mine.reload()
    assert mine.status == "exited"


def test_what_the_engine_refuses_is_one_line(container, monkeypatch):
    container(dead())
    docker_engine.failing(monkeypatch, "remove_container", 500)
    with pytest.raises(InputError) as raised:
        sweep()
    assert str(raised.value).startswith("runtime=docker: found an engine that says: the test says")
    monkeypatch.undo()
    with pytest.raises(InputError), engine.connected() as own:
        own.images.get("separation-none-such")


def test_an_engine_that_goes_away_is_one_line(client, monkeypatch):
    def away(*_, **__):
        raise requests.ConnectionError("refused")

    with pytest.raises(InputError) as raised, engine.connected() as own:
        monkeypatch.setattr(docker.APIClient, "send", away)
        own.images.get(CPU_BASE)
    assert "found a Docker engine that went away (refused)" in str(raised.value)


HIDDEN = """
    import os
    from stages import engine
    os.setgroups([os.stat("/var/run/docker.sock").st_gid])
    os.setgid(23456)
    os.setuid(12345)
    assert not os.path.exists("/proc/1")
    with engine.connected():
        pass
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting /proc needs root")
def test_a_launcher_that_cannot_be_seen_is_not_dead(client, container):
    """Of another user, where /proc hides those."""
    mine = container(engine.launcher())
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, "-c"]
    subprocess.run([*command, textwrap.dedent(HIDDEN)], env=environment(), check=True)
    assert is_there(client, mine)
