"""Writing so that a reader finds outputs whole or not at all."""

import os
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path


def write_all(file, data) -> None:
    """Write all of the bytes to an unbuffered file, which may take them in pieces.

    Unbuffered, because what Python holds back it tries again on closing, after a full disk.
    """
    data = memoryview(data)
    while data:
        data = data[file.write(data) :]


@contextmanager
def replacing(*targets: Path):
    """Yields a sibling path for each target, file or folder, to be made in the block.

    When the block succeeds, all of them take their targets' places; when it or that fails, none
    does and the older ones stay.
    """
    made = [path.with_name(f".{path.name}.tmp") for path in targets]
    olds = [path.with_name(f".{path.name}.old") for path in targets]
    try:
        for target, leftover in zip(targets, made, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove(leftover)
        yield made
        with ExitStack() as undo:
            for target, new, old in zip(targets, made, olds, strict=True):
                remove(old)
                if target.exists():
                    target.rename(old)
                    undo.callback(os.replace, old, target)
                new.rename(target)
                undo.callback(remove, target)
            undo.pop_all()
    finally:
        for leftover in (*made, *olds):
            remove(leftover)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def empty(folder: Path) -> None:
    """Remove all that is in a folder."""
    for path in folder.iterdir():
        remove(path)
