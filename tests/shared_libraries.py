"""Shared libraries that every Python has, to stand for others."""

from __future__ import annotations

import re
from pathlib import Path


def loaded(name: str) -> str:
    """Returns the path of a library that this process has loaded.

    Args:
        name: without `lib` and its version: `c` or `m`.
    """
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    (path,) = (path for path in mapped if re.match(rf"lib{name}[.-].*so", Path(path).name))
    return path
