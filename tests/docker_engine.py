"""The Docker engine that tests use: a real one, which others may use at the same time."""

from __future__ import annotations

from collections.abc import Callable
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
from tests.conftest import IN_CI


def client() -> docker.DockerClient:
    """Returns a client of the engine, which has the base image of `make base-image`.

    Without an engine the test is skipped, or fails if CI must have one.
    """
    missing = pytest.fail if IN_CI else pytest.skip
    try:
        with engine.connected() as connected:
            if not base_image.find(connected):
                missing(f"no image {CPU_BASE}: run `make base-image`")
            return connected
    except InputError as error:
        missing(str(error))


def containers(client: docker.DockerClient, folder: Path) -> list[Container]:
    """Returns the launchers' containers, also ended ones, whose workspace is `folder` or in it."""
    filters = {"label": engine.LAUNCHER}
    listed = client.containers.list(all=True, filters=filters, ignore_removed=True)
    return [c for c in listed if Path(c.attrs["Config"]["WorkingDir"]).is_relative_to(folder)]


def interfere(
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    *,
    before: Callable[[], Any] | None = None,
    after: Callable[[], Any] | None = None,
) -> None:
    """Does what somebody else might do, once, right before or after the next call to the engine.

    Args:
        monkeypatch: replaces the method.
        call: a method of docker's `APIClient`.
        before: what is done before it.
        after: what is done after it.
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
    """Has the engine answer every call of a method of docker's `APIClient` with an error."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        response = requests.Response()
        response.status_code = status
        raise APIError("refused", response, explanation="the test says so")

    monkeypatch.setattr(docker.APIClient, call, refuse)


def go_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the engine not answer any more."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(docker.APIClient, "send", refuse)
