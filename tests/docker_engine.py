"""The Docker engine that tests use: a real one."""

import os

import pytest

from metrics.errors import InputError
from stages import engine
from stages.images import CPU_BASE


def client():
    """A client of the engine, which has the base image of `make base-image`.

    Skips the test where there is none; fails it where CI must have one.
    """
    absent = pytest.fail if "ENGINE_EXPECTED" in os.environ else pytest.skip
    try:
        with engine.connected() as found:
            if not found.images.list(CPU_BASE):
                absent(f"no image {CPU_BASE}: run `make base-image`")
            return found
    except InputError as error:
        absent(str(error))
