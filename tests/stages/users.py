"""Ordinary users, without an account on this machine, and their podman."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import docker

from contract.errors import InputError
from stages.runtime import engine
from stages.runtime.images import CPU_BASE

USER, GROUP = 12345, 23456
# Without ranges of numbers for further users, as on many clusters, all files of an image are this
# user's.
STORAGE = """
[storage]
driver = "overlay"
[storage.options.overlay]
ignore_chown_errors = "true"
"""


def as_user(
    function: Callable[[], int],
    groups: Sequence[int] = (),
    variables: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Runs a function in a fork of this process, which becomes an ordinary user.

    All that the function needs must be imported: that user may not be able to read this repository.

    Args:
        function: returns an exit code.
        groups: the ids of the user's groups besides `GROUP`.
        variables: environment variables that differ.

    Returns:
        The exit code and the output.
    """
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.environ.update(variables or {})
            os.setgroups(groups)
            os.setgid(GROUP)
            os.setuid(USER)
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w")
            code = function()
        except InputError as error:
            print(f"ERROR: {error}")
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as output:
        text = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@contextmanager
def home_with_podman(client: docker.DockerClient) -> Iterator[dict[str, str]]:
    """Yields the environment variables of an ordinary user whose podman has the base image.

    It has been carried over from another engine, as to a cluster.

    Args:
        client: of the other engine.
    """
    home = Path(tempfile.mkdtemp(prefix="separation-user-"))
    try:
        for folder in (home, home / "run", home / "tmp"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)
            os.chown(folder, USER, GROUP)
        settings = home / "storage.conf"
        settings.write_text(STORAGE)
        archive = home / "base.tar"
        with archive.open("wb") as file:
            for part in client.images.get(CPU_BASE).save(named=True):
                file.write(part)
        variables = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "TMPDIR": str(home / "tmp"),
            "CONTAINERS_CONF": "",
            "CONTAINERS_STORAGE_CONF": str(settings),
        }

        def load() -> int:
            with engine.connected("podman") as own, archive.open("rb") as file:
                own.images.load(file)
                return 0

        code, output = as_user(load, variables=variables)
        assert code == 0, output
        yield variables
    finally:
        # Ends the process that keeps the user's namespace.
        as_user(lambda: subprocess.run(["podman", "system", "migrate"]).returncode, (), variables)
        shutil.rmtree(home)
