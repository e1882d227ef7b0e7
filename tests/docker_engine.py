"""The Docker engine that tests use: a real one. Others may use it at the same time."""

import os
from pathlib import Path

import docker
import pytest
import requests
from docker.errors import APIError

from metrics.errors import InputError
from stages import engine
from stages.base_image import present
from stages.images import CPU_BASE


def client():
    """A client of the engine, which has the base image of `make base-image`.

    Skips the test where there is none; fails it where CI must have one.
    """
    absent = pytest.fail if "ENGINE_EXPECTED" in os.environ else pytest.skip
    try:
        with engine.connected() as found:
            if not present(found):
                absent(f"no image {CPU_BASE}: run `make base-image`")
            return found
    except InputError as error:
        absent(str(error))


def containers(client, folder: Path) -> list:
    """Those of launchers that have a workspace in this folder, or that folder as workspace; the
    ones that have ended, too."""
    filters = {"label": engine.LAUNCHER}
    listed = client.containers.list(all=True, filters=filters, ignore_removed=True)
    return [c for c in listed if Path(c.attrs["Config"]["WorkingDir"]).is_relative_to(folder)]


def meanwhile(monkeypatch, call: str, *, before=None, after=None) -> None:
    """Lets somebody else do something right before or after the next `call` to the engine, a method
    of docker's `APIClient`; once."""
    original = getattr(docker.APIClient, call)

    def interrupted(*arguments, **options):
        monkeypatch.setattr(docker.APIClient, call, original)
        if before:
            before()
        answer = original(*arguments, **options)
        if after:
            after()
        return answer

    monkeypatch.setattr(docker.APIClient, call, interrupted)


def failing(monkeypatch, call: str, status: int) -> None:
    """Has the engine answer every `call`, a method of docker's `APIClient`, with an error."""

    def fail(*_, **__):
        response = requests.Response()
        response.status_code = status
        raise APIError("refused", response, explanation="the test says so")

    monkeypatch.setattr(docker.APIClient, call, fail)
