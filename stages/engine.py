"""The Docker engine of this machine, and what launchers left behind on it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import requests
from docker.errors import APIError, DockerException
from docker.models.containers import Container

from metrics.errors import InputError

LAUNCHER = "separation.launcher"  # label of a container: who is to remove it


@contextmanager
def connected() -> Iterator[docker.DockerClient]:
    """Yields a client, after removing the containers of launchers that are dead.

    Raises:
        InputError: no engine, or none that this user may use.
    """
    try:
        client = docker.from_env()
        client.ping()
    except (DockerException, requests.RequestException) as error:
        raise _unreachable(error) from None
    try:
        _sweep(client)
        yield client
    finally:
        client.close()


def remove(container: Container) -> None:
    """Ends a container, if it runs, and removes it, if nobody else has or does just now."""
    try:
        container.remove(force=True)
    except APIError as error:
        if error.status_code not in (404, 409):
            raise


def launcher() -> str:
    """This process, so that its death can be told: host, boot, process, and when it started."""
    return _identity(os.getpid())


def _identity(pid: int) -> str:
    with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat") as stat:
        started = stat.read().rpartition(")")[2].split()[19]
        return f"{socket.gethostname()}/{boot.read().strip()}/{pid}/{started}"


def _sweep(client: docker.DockerClient) -> None:
    for container in client.containers.list(all=True, filters={"label": LAUNCHER}):
        identity = container.labels[LAUNCHER]
        host, _, pid, _ = identity.split("/")
        if host != socket.gethostname() or _alive(identity, int(pid)):
            continue
        remove(container)


def _alive(identity: str, pid: int) -> bool:
    try:
        return _identity(pid) == identity
    except (FileNotFoundError, ProcessLookupError):
        return False


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
