"""Paths that the configuration gives."""

from pathlib import Path

from stages.scratch import scratch_root


def given(path: str) -> Path:
    """A path of the configuration. A relative one starts at the repository, from DVC's temporary
    workspaces too; `~` is the home folder."""
    return scratch_root().parent / Path(path).expanduser()
