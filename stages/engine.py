"""The Docker engine of this machine, and what launchers left behind on it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from metrics.errors import InputError

LAUNCHER = "separation.launcher"  # label of a container: who is to remove it
SECONDS = 300  # for an answer: the engine of a busy machine takes its time


@contextmanager
def connected() -> Iterator[docker.DockerClient]:
    """Yields a client, after removing the containers of launchers that are dead.

    Raises:
        InputError: no engine, or none that this user may use; in the block, whatever the engine
            refuses to do there.
    """
    try:
        client = docker.from_env(timeout=SECONDS)
        client.ping()
    except (DockerException, requests.RequestException) as error:
        raise _unreachable(error) from None
    try:
        _sweep(client)
        yield client
    except APIError as error:
        raise refused(error) from None
    except requests.RequestException as error:
        raise gone(error) from None
    finally:
        client.close()


def remove(container: Container) -> None:
    """Ends a container, if it runs, and removes it. Where somebody else removes it just now, waits
    until it has ended: it may write until then."""
    try:
        container.remove(force=True)
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 409:
            raise
        with suppress(NotFound):
            container.wait(timeout=SECONDS)


def launcher() -> str:
    """This process, so that its death can be told: where its number means anything, boot, process,
    and when it started."""
    return _identity(os.getpid())


def _identity(pid: int) -> str:
    with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat") as stat:
        started = stat.read().rpartition(")")[2].split()[19]
        return f"{_where()}/{boot.read().strip()}/{pid}/{started}"


def _where() -> str:
    """The host, and within it the kernel's namespace of processes: in another one the numbers of
    this one belong to others or to nobody."""
    return f"{socket.gethostname()}:{os.stat('/proc/self/ns/pid').st_ino}"


def _sweep(client: docker.DockerClient) -> None:
    # Sparse: the engine is asked once. Otherwise each container of the list is asked for again,
    # which fails when another launcher has removed it since.
    for container in client.containers.list(all=True, filters={"label": LAUNCHER}, sparse=True):
        identity = container.attrs["Labels"][LAUNCHER]
        where, _, pid, _ = identity.split("/")
        if where == _where() and not _alive(identity, int(pid)):
            remove(container)


def _alive(identity: str, pid: int) -> bool:
    try:
        return _identity(pid) == identity
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        pass  # it has ended, or it is another user's where /proc hides those
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def refused(error: APIError) -> InputError:
    """What the engine says, for the user."""
    said = (error.explanation or str(error)).strip()
    return InputError("runtime=docker", f"an engine that says: {said}", "what was asked of it")


def gone(error: requests.RequestException) -> InputError:
    """The engine no longer answers."""
    return InputError("runtime=docker", f"a Docker engine that went away ({error})", "it to stay")


def _unreachable(error: Exception) -> InputError:
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    causes = []
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    if "Permission denied" in str(causes[0]) or any(
        isinstance(cause, PermissionError) for cause in causes
    ):
        expected = "permission to use it: add yourself to the group docker, and log in anew"
        return InputError("runtime=docker", f"{where} that you may not open", expected)
    expected = "one that runs: start it (`systemctl start docker`), or use runtime=local"
    return InputError("runtime=docker", f"no Docker engine at {where}", expected)
