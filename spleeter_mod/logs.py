"""CSV files that grow with a training and can go back to an earlier step."""

import csv
import os
from pathlib import Path

from spleeter_mod.errors import naming
from spleeter_mod.files import write_all


class Log:
    """A CSV file, every row of which is in the file when `append` returns.

    Attributes:
        rows: all rows so far, a dictionary each, numbers as floats.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], until_step: int):
        """Go on with the file's rows up to step `until_step`; later ones are dropped."""
        self._path = path
        self._columns = columns
        self.rows = [row for row in self._read() if row["step"] <= until_step]
        with naming(path):
            self._file = path.open("wb", buffering=0)
            write_all(self._file, (",".join(columns) + "\n").encode())
            for row in self.rows:
                self._write(row)

    def _read(self):
        """The whole rows; a process that died may have left part of one."""
        if not self._path.exists():
            return []
        with self._path.open(newline="", encoding="utf-8") as file:
            text = file.read()
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [
            {column: float(row[column]) for column in self._columns}
            for row in csv.DictReader(whole)
        ]

    def append(self, **row: float) -> None:
        """Add a row."""
        with naming(self._path):
            self._write(row)
        self.rows.append(row)

    def _write(self, row):
        """Floats are written so that they read back exactly."""
        values = (row[column] for column in self._columns)
        line = ",".join(str(int(v)) if float(v).is_integer() else repr(v) for v in values)
        write_all(self._file, (line + "\n").encode())

    def sync(self) -> None:
        """Bring the rows to the disk."""
        with naming(self._path):
            os.fsync(self._file.fileno())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
