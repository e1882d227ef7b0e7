"""The Docker engine and podman of the tests: real ones, which others may use at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import docker
import pytest
import requests
from docker.errors import APIError
from docker.models.containers import Container

from contract.errors import InputError
from stages.runtime import base_image, engine
from stages.runtime.images import CPU_BASE
from stages.runtime.podman import PodmanClient

TITLES = {engine.DOCKER: "a Docker engine", engine.PODMAN: "podman"}


@contextmanager
def client(name: str) -> Iterator[docker.DockerClient]:
    """Yields a client of an engine, which has the base image of `make base-image`.

    Without the engine or the image the test is skipped.

    Args:
        name: `docker` or `podman`.
    """
    # Where root has not all privileges, podman cannot raise limits as it does by default.
    os.environ.setdefault("CONTAINERS_CONF", str(Path(__file__).with_name("podman.conf")))
    with ExitStack() as stack:
        try:
            connected = stack.enter_context(engine.connected(name))
        except InputError as error:
            pytest.skip(f"needs {TITLES[name]}; {error}")
        if not base_image.find(connected):
            pytest.skip(f"needs the image {CPU_BASE} of `make base-image RUNTIME={name}`")
        yield connected


def name(client: docker.DockerClient) -> str:
    """Returns the name of a client's engine: `docker` or `podman`."""
    return engine.PODMAN if isinstance(client, PodmanClient) else engine.DOCKER


def gone(client: docker.DockerClient) -> str:
    """Returns the error of an engine that no longer answers (`go_away`)."""
    if name(client) == engine.PODMAN:
        return "runtime=podman: podman no longer answers (refused); repeat the command"
    return (
        "runtime=docker: the Docker engine no longer answers (refused); "
        "start it again and repeat the command"
    )


def containers(client: docker.DockerClient, folder: Path) -> list[Container]:
    """Returns the launchers' containers that work in a folder, including those that have ended.

    Args:
        client: of the engine.
        folder: the workspace, or a folder above it.
    """
    filters = {"label": engine.LAUNCHER}
    listed = client.containers.list(all=True, filters=filters, ignore_removed=True)
    return [
        container
        for container in listed
        if Path(container.attrs["Config"]["WorkingDir"]).is_relative_to(folder)
    ]


def interfere(
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    *,
    before: Callable[[], Any] | None = None,
    after: Callable[[], Any] | None = None,
) -> None:
    """Does once what another process might do, right before or after the next call to the engine.

    Args:
        monkeypatch: the fixture.
        call: a method of docker's `APIClient`.
        before: is called before the method.
        after: is called after the method.
    """
    original = getattr(docker.APIClient, call)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(docker.APIClient, call, original)
        if before:
            before()
        answer = original(*arguments, **options)
        if after:
            after()
        return answer

    monkeypatch.setattr(docker.APIClient, call, interrupted)


def fail(monkeypatch: pytest.MonkeyPatch, call: str, status: int) -> None:
    """Makes the engine answer every call of a method with an error.

    Args:
        monkeypatch: the fixture.
        call: a method of docker's `APIClient`.
        status: the HTTP status of the answer.
    """

    def refuse(*_: Any, **__: Any) -> NoReturn:
        response = requests.Response()
        response.status_code = status
        raise APIError("refused", response, explanation="the test says so")

    monkeypatch.setattr(docker.APIClient, call, refuse)


def go_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the engine unreachable."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(docker.APIClient, "send", refuse)
