"""Paths that the user sets in the configuration."""

from __future__ import annotations

from pathlib import Path

from contract.scratch import scratch_root


def configured_path(path: str) -> Path:
    """Returns a path from the configuration as an absolute path.

    A relative path starts at the repository, also when a stage runs in one of DVC's temporary
    workspaces. `~` stands for the home folder.
    """
    return scratch_root().parent / Path(path).expanduser()
