"""CSV files that grow with a training and can go back to an earlier step."""

import csv
import os
from pathlib import Path

from spleeter_mod.errors import naming
from spleeter_mod.files import write_all


class Log:
    """A CSV file, every row of which is in the file when `append` returns.

    Attributes:
        rows: all rows so far, a dictionary of numbers each.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], until_step: int):
        """Go on after the file's rows up to step `until_step`; later ones are dropped."""
        self._path = path
        self._columns = columns
        with naming(path):
            self._file = path.open("ab+", buffering=0)
            self._file.seek(0)
            lines = self._file.readall().decode().splitlines(keepends=True)
            # A process that died may have left part of a row.
            rows = csv.DictReader(line for line in lines if line.endswith("\n"))
            rows = [{column: _number(row[column]) for column in columns} for row in rows]
            self.rows = [row for row in rows if row["step"] <= until_step]
            kept = lines[: 1 + len(self.rows)] if self.rows else []
            self._file.truncate(len("".join(kept)))
            if not kept:
                self._write(columns)

    def append(self, **row: float) -> None:
        """Add a row. Floats are written so that they read back exactly."""
        with naming(self._path):
            self._write(repr(row[column]) for column in self._columns)
        self.rows.append(row)

    def _write(self, values):
        write_all(self._file, (",".join(values) + "\n").encode())

    def sync(self) -> None:
        """Bring the rows to the disk."""
        with naming(self._path):
            os.fsync(self._file.fileno())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def _number(text):
    return int(text) if text.isdecimal() else float(text)
