"""The shared libraries that a trainer needs on a GPU: where they are, and whether they open.

A framework opens most of them only after it has found a GPU. If one is missing, TensorFlow then
goes on without the GPU, and cuDNN ends the program. Opening them all takes no GPU.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from contract.errors import InputError

DRIVER = "libcuda.so.1"  # belongs to NVIDIA's driver, and is in no wheel


def errors(libraries: Iterable[str | Path], remedy: str) -> list[InputError]:
    """Opens libraries with all that they depend on, and returns an error for each that fails.

    Those that depend on NVIDIA's driver are passed over where it is missing: `driver` says so.

    Args:
        libraries: names, which the loader looks up as it does for a framework, or paths.
        remedy: what to do about a library that cannot be opened.
    """
    failures = []
    for library in libraries:
        if (reason := _failure(library)) and DRIVER not in reason:
            failures.append(InputError(library, f"cannot be opened ({reason})", remedy))
    return failures


def toolkit_variables(toolkit: Path) -> dict[str, str]:
    """Returns the environment variables by which TensorFlow finds a toolkit of CUDA.

    It comes before what this process's own variables name.

    Args:
        toolkit: as docker/link_cuda.sh makes it; if there is none, there are no variables.
    """
    if not toolkit.is_dir():
        return {}
    # Of flags that are given twice, XLA takes the last.
    flags = (os.environ.get("XLA_FLAGS"), f"--xla_gpu_cuda_data_dir={toolkit}")
    return {
        "LD_LIBRARY_PATH": _before(toolkit / "lib", "LD_LIBRARY_PATH"),
        "PATH": _before(toolkit / "bin", "PATH"),
        "XLA_FLAGS": " ".join(filter(None, flags)),
    }


def _before(folder: Path, name: str) -> str:
    """Returns a folder and then those that an environment variable lists, joined by colons."""
    # An empty name would stand for the working directory.
    return ":".join(filter(None, (str(folder), os.environ.get(name))))


def has_driver() -> bool:
    """Returns whether NVIDIA's driver is here."""
    return not _failure(DRIVER)


def driver() -> str:
    """Returns a sentence that says whether NVIDIA's driver is here."""
    reason = _failure(DRIVER)
    if reason:
        return f"NVIDIA's driver is not here ({DRIVER}: {reason})"
    return "NVIDIA's driver is here"


def _failure(library: str | Path) -> str:
    """Opens a library and returns why the loader could not; empty if it could."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error).removeprefix(f"{library}: ")
    return ""
