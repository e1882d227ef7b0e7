"""Disks that fail: small ones, which tests fill, and those that cannot rename a file."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mounts a file system of `size`, such as 64k, at a new folder for the block."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        # Lazily: a process that has just ended may still count as its user.
        subprocess.run(["umount", "--lazy", folder], check=True)


def fail_to_rename(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Makes the disk fail whenever a new file or folder is renamed to a path with this end."""

    def failing(rename: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def rename_or_fail(path: Path, target: Path) -> Path:
            if str(target).endswith(end) and not path.name.endswith(".old"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
            return rename(path, target)

        return rename_or_fail

    for method in ("rename", "replace"):
        monkeypatch.setattr(Path, method, failing(getattr(Path, method)))


def grow(folder: Path, size: str) -> None:
    """Resizes the small disk at `folder`."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
