"""The trainers' lists: one CSV file per split, one row per mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from contract.files import write_together
from contract.layout import path_column
from stages.datasets.checks import Mixture

MIXTURE_COLUMN = path_column("mix")


def write_lists(
    mixtures: Sequence[Mixture],
    source_names: Sequence[str],
    more_columns: Sequence[Mapping[str, Any]],
    target: Path,
) -> None:
    """Writes `<split>.csv` for every split, all of them or none.

    Args:
        mixtures: of all splits, in the order of the rows.
        source_names: the names of a mixture's sources, in their order; each gets a column of paths.
        more_columns: of every mixture, the values of the columns that follow the paths.
        target: the folder of the lists.
    """
    frame = pd.DataFrame(
        {
            MIXTURE_COLUMN: mixture.path,
            **dict(zip(map(path_column, source_names), mixture.sources, strict=True)),
            **more,
        }
        for mixture, more in zip(mixtures, more_columns, strict=True)
    )
    lists = {}
    for split in dict.fromkeys(mixture.split for mixture in mixtures):
        rows = frame[[mixture.split == split for mixture in mixtures]]
        lists[target / f"{split}.csv"] = rows.to_csv(index=False)
    write_together(lists)
