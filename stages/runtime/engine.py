"""What runs containers, Docker or podman, and the containers that dead launchers left there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from contract.errors import InputError
from stages.runtime import podman

DOCKER, PODMAN = ENGINES = ("docker", "podman")  # choices of `runtime`
LAUNCHER = "separation.launcher"  # a container's label: the launcher that has to remove it
TIMEOUT = 300  # seconds until the engine answers; that of a busy machine takes its time


@contextmanager
def connected(name: str) -> Iterator[docker.DockerClient]:
    """Yields a client of the engine, after removing the containers of dead launchers.

    Args:
        name: the engine: `docker` or `podman`.

    Raises:
        InputError: there is no engine, this user may not use it, or it refuses a request or stops
            answering within the block.
    """
    with podman.connected(TIMEOUT) if name == PODMAN else _connected_to_docker() as client:
        try:
            _remove_orphans(client)
            yield client
        except APIError as error:
            raise refusal(client, error) from None
        except requests.RequestException as error:
            raise disconnection(client, error) from None


@contextmanager
def _connected_to_docker() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=TIMEOUT)
        client.ping()
    except (DockerException, requests.RequestException) as error:
        raise _connection_error(error) from None
    with closing(client):
        yield client


def remove(container: Container) -> None:
    """Stops a container, if it runs, and removes it.

    If somebody else is just removing it, waits until it has ended: until then it may write.

    Args:
        container: the container.
    """
    try:
        container.remove(force=True)
    except NotFound:
        pass
    except APIError as error:
        with suppress(NotFound):
            if "container state improper" in str(error.explanation):
                # It has ended just before podman could stop it.
                container.remove(force=True)
            elif error.status_code == 409:
                container.wait(timeout=TIMEOUT)
            else:
                raise


def launcher() -> str:
    """Returns an identity of this process by which others can tell whether it is still alive.

    It consists of the place where its number has a meaning, the machine's boot, the number, and the
    time at which the process started.
    """
    return _identity(os.getpid())


def _identity(pid: int) -> str:
    with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat") as stat:
        # proc(5): field 22 is the start time; the command, field 2, may itself hold parentheses.
        start_time = stat.read().rpartition(")")[2].split()[19]
        return f"{_pid_namespace()}/{boot.read().strip()}/{pid}/{start_time}"


def _pid_namespace() -> str:
    """Returns the host and the kernel's namespace of processes.

    In another namespace the same number belongs to another process, or to none.
    """
    return f"{socket.gethostname()}:{os.stat('/proc/self/ns/pid').st_ino}"


def _remove_orphans(client: docker.DockerClient) -> None:
    """Removes the containers of launchers that have died."""
    # `sparse` asks the engine once. Without it the SDK asks again for each container of the list,
    # which fails if another launcher has removed it in the meantime.
    for container in client.containers.list(all=True, filters={"label": LAUNCHER}, sparse=True):
        identity = container.attrs["Labels"][LAUNCHER]
        namespace, _, pid, _ = identity.split("/")
        if namespace == _pid_namespace() and not _is_alive(identity, int(pid)):
            remove(container)


def _is_alive(identity: str, pid: int) -> bool:
    """Returns whether the process of a launcher's identity still runs; in doubt it does."""
    try:
        return _identity(pid) == identity
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        pass  # it has ended, or it is another user's and /proc hides it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def refusal(client: docker.DockerClient, error: APIError) -> InputError:
    """Returns the engine's refusal of a request as an error for the user.

    Args:
        client: a client of the engine.
        error: what the Docker SDK raised.
    """
    reason = (error.explanation or str(error)).strip()
    if isinstance(client, podman.PodmanClient):
        problem = f"podman refused a request ({reason})"
        return InputError("runtime=podman", problem, "see what `podman info` says")
    problem = f"the Docker engine refused a request ({reason})"
    return InputError("runtime=docker", problem, "see what `docker info` says about the engine")


def disconnection(client: docker.DockerClient, error: requests.RequestException) -> InputError:
    """Returns the failure of an engine that no longer answers as an error for the user.

    Args:
        client: a client of the engine.
        error: what the Docker SDK raised.
    """
    if isinstance(client, podman.PodmanClient):
        problem = f"podman no longer answers ({error})"
        return InputError("runtime=podman", problem, "repeat the command")
    problem = f"the Docker engine no longer answers ({error})"
    return InputError("runtime=docker", problem, "start it again and repeat the command")


def _connection_error(error: Exception) -> InputError:
    """Returns the reason why no engine can be used as an error for the user."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if "Permission denied" in str(error) or any(
        isinstance(cause, PermissionError) for cause in causes
    ):
        problem = f"you may not use the Docker engine at {address}"
        remedy = "add yourself to the group docker and log in again"
    else:
        problem = f"there is no Docker engine at {address}"
        remedy = "start it (`systemctl start docker`), or use runtime=local"
    return InputError("runtime=docker", problem, remedy)
