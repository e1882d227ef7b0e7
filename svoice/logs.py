"""CSV files that grow with a training and can go back to an earlier length."""

import os

from svoice import files
from svoice.errors import InputError, naming


class Log:
    """Rows appended to a CSV file; each is in the file when `append` returns.

    size: the file's length in bytes to continue from, or 0 to begin a new file.
    """

    def __init__(self, path, columns, size):
        self.path = path
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 — closed by __exit__
        found = os.path.getsize(path)
        if found < size:
            self.file.close()
            raise InputError(path, f"{found} bytes", f"the {size} that the checkpoint knows of")
        self.file.truncate(size)
        if not size:
            self.append(columns)

    def append(self, row):
        """Floats are written so that they read back exactly."""
        line = ",".join(repr(value) if isinstance(value, float) else str(value) for value in row)
        with naming(self.path):
            files.write_all(self.file, (line + "\n").encode())

    def sync(self):
        """Write the rows to the disk. → the file's size in bytes."""
        with naming(self.path):
            os.fsync(self.file.fileno())
        return os.path.getsize(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()
