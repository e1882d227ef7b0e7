"""Fixtures of the tests that run containers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines
from tests.stages.users import GROUP, USER, home_with_podman


@pytest.fixture
def folder_of_user() -> Iterator[Path]:
    """A folder that belongs to the ordinary user.

    It is not pytest's: each pytest that starts closes the folder of all of them to other users.
    """
    parent = Path(tempfile.mkdtemp(prefix="separation-workspace-"))
    try:
        parent.chmod(0o755)
        folder = parent / "workspace"
        folder.mkdir()
        os.chown(folder, USER, GROUP)
        yield folder
    finally:
        shutil.rmtree(parent)


@pytest.fixture(scope="session")
def podman_home():
    """The environment variables of an ordinary user whose podman has the base image."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    with engines.client("podman") as client, home_with_podman(client) as variables:
        yield variables
