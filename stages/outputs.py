"""Outputs that appear whole or not at all."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def _partial(path: Path) -> Path:
    """Where `path` is made: beside it, so that the final rename stays on one file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.partial")


@contextmanager
def directory(path: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` when the block succeeds.

    On failure it is removed and an older `path` stays as it was.
    """
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if path.exists():
        shutil.rmtree(path)
    partial.rename(path)


def write(path: Path, text: str) -> None:
    """Writes a text file at once; on failure an older `path` stays as it was."""
    write_together({path: text})


def write_together(texts: Mapping[Path, str]) -> None:
    """Writes several text files: all of them or, on failure, none, and older ones stay as they
    were."""
    partials = {path: _partial(path) for path in texts}
    try:
        for path, text in texts.items():
            partials[path].write_text(text, encoding="utf-8")
        for path, partial in partials.items():
            partial.replace(path)
    except BaseException:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise


def adopt(folder: Path, path: Path) -> None:
    """A finished folder becomes `path`, from wherever it was made; until then an older `path` stays
    as it was. If this fails or is killed, `folder` is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_dev == path.parent.stat().st_dev:
        if path.exists():
            shutil.rmtree(path)
        folder.rename(path)
        return
    with directory(path) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    shutil.rmtree(folder)
