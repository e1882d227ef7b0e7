"""The line that the owner of other hardware should send: what was measured, where, and by what."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from contract.hardware import processors


def line(benchmark: str, sizes: str, gpu: str, framework: str, seconds: Mapping[str, float]) -> str:
    """Returns the line.

    Args:
        benchmark: the module's name.
        sizes: of what is measured, in words.
        gpu: the GPU's name; empty if there is none.
        framework: its name and version.
        seconds: of a step, by variant.
    """
    hardware = f"{gpu}, driver {_driver()}, {processors()}" if gpu else processors()
    measured = ", ".join(f"{variant} {value:.4f} s" for variant, value in seconds.items())
    return f"To send: {benchmark} | {sizes} | {hardware} | {framework} | {measured}"


def _driver() -> str:
    """Returns the version of NVIDIA's driver; a question mark if nobody says it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "?"
    return listing.split("\n")[0].strip()
