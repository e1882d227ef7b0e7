"""Writing files so that a reader finds them whole or not at all."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from svoice.errors import naming


def write(path, data):
    """Write bytes to a new file and to its disk; OSError names the file.

    Unbuffered: what Python buffers it writes a second time, on closing, after a full disk.
    """
    with naming(path), open(path, "wb", buffering=0) as file:
        write_all(file, data)
        os.fsync(file.fileno())


def write_all(file, data):
    """Write all of the bytes to an unbuffered file, which may take them in pieces."""
    data = memoryview(data)
    while data:
        data = data[file.write(data) :]


def replace(contents):
    """Write several files, {path: bytes}: all of them, or none when one cannot be written."""
    siblings = {Path(path): temporary(path) for path in contents}
    try:
        for path, data in contents.items():
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            write(siblings[path], data)
        for path, sibling in siblings.items():
            os.replace(sibling, path)
    finally:
        for sibling in siblings.values():
            sibling.unlink(missing_ok=True)


@contextmanager
def new_folder(path):
    """An empty folder that takes the place of `path` when the block ends without an exception."""
    path = Path(path)
    sibling, old = temporary(path), path.with_name(f".{path.name}.old")
    for leftover in (sibling, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        sibling.mkdir(parents=True)
        yield sibling
        if path.exists():
            path.rename(old)
        try:
            sibling.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        for leftover in (sibling, old):
            shutil.rmtree(leftover, ignore_errors=True)


def temporary(path):
    """The name beside `path` under which its successor is written."""
    path = Path(path)
    return path.with_name(f".{path.name}.tmp")
