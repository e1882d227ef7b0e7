"""Fixtures of the tests that run containers."""

from __future__ import annotations

import os

import pytest

from tests import engines
from tests.stages.users import home_with_podman


@pytest.fixture(scope="session")
def podman_home():
    """The environment variables of an ordinary user whose podman has the base image."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    with engines.client("podman") as client, home_with_podman(client) as variables:
        yield variables
