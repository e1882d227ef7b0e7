"""The trainers' lists: one CSV file per split, one row per mixture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from contract.files import write_together
from contract.layout import list_file
from stages.datasets.checks import Mixture


def write_lists(
    mixtures: Sequence[Mixture],
    columns: Sequence[str],
    numbers: Sequence[Sequence[Any]],
    target: Path,
) -> None:
    """Writes the list of every split, all of them or none.

    Args:
        mixtures: the mixtures of all splits, in the order of the rows.
        columns: the names of the columns: the path of the mixture, the paths of its sources, and
            what `numbers` holds.
        numbers: for every mixture, the values of the columns that follow the paths.
        target: the folder of the lists.
    """
    frame = pd.DataFrame(
        [
            (mixture.path, *mixture.sources, *values)
            for mixture, values in zip(mixtures, numbers, strict=True)
        ],
        columns=columns,
    )
    lists = {}
    for split in dict.fromkeys(mixture.split for mixture in mixtures):
        rows = frame[[mixture.split == split for mixture in mixtures]]
        lists[target / list_file(split)] = rows.to_csv(index=False)
    write_together(lists)
