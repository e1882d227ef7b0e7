"""Files that grow with a training and can go back to an earlier length."""

import fcntl
import os

from svoice import files
from svoice.errors import InputError, naming


class GrowingFile:
    """Bytes appended to a file; they are in it when `append` returns.

    size: the file's length in bytes to continue from, or 0 to begin a new file. Raises InputError
    when the file is shorter, or another training's.
    """

    def __init__(self, path, size):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 — closed by __exit__
        try:
            # Held until the process ends, however it does.
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise InputError(path, "another process at work", "one training in a folder") from None
        found = os.path.getsize(path)
        if found < size:
            self.file.close()
            raise InputError(path, f"{found} bytes", f"the {size} that the checkpoint knows of")
        self.file.truncate(size)

    def append(self, data):
        with naming(self.path):
            files.write_all(self.file, data)

    def sync(self):
        """Write all to the disk. → the file's size in bytes."""
        with naming(self.path):
            os.fsync(self.file.fileno())
        return os.path.getsize(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()


class Log(GrowingFile):
    """A CSV file."""

    def __init__(self, path, columns, size):
        super().__init__(path, size)
        if not size:
            self.row(columns)

    def row(self, values):
        """Floats are written so that they read back exactly."""
        line = ",".join(repr(value) if isinstance(value, float) else str(value) for value in values)
        self.append((line + "\n").encode())
