"""Tables as Markdown, with the pipes that GitHub and most other renderers know."""

from __future__ import annotations

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"([\\|*_<`\[])")


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, numeric: set[int]
) -> str:
    """Returns a table below its title.

    Args:
        head: the names of the columns.
        rows: the cells, as many in each row.
        caption: the title.
        numeric: the columns of numbers, from 0, which end at the right.
    """
    ends = ["---:" if column in numeric else "---" for column in range(len(head))]
    lines = [map(_escaped, head), ends, *(map(_escaped, row) for row in rows)]
    return "\n".join([f"{_escaped(caption)}:", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _escaped(text: str) -> str:
    """Returns text whose characters all stand for themselves, in one line."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
