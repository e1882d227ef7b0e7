"""Reads what dvc.lock says about the stages that have run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def outputs(lock: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the entries of all outputs: `path`, `md5`, `size` and others.

    Args:
        lock: the contents of dvc.lock; empty if there is none.
    """
    stages = lock.get("stages", {}).values()
    return [output for stage in stages for output in stage.get("outs", [])]
