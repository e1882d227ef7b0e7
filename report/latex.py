"""Text and tables as LaTeX, with the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What LaTeX reads as a command, and what its usual fonts lack.
CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\u2212": "$-$",  # the minus sign
    "\u2013": "--",  # the dash that stands for no value
    "\u00b7": r"$\cdot$",
    "\u00d7": r"$\times$",
    "\u03c4": r"$\tau$",
    "\u00a0": "~",
    "\u25b2": "!",  # the triangle before a warning
}
SPECIAL = re.compile("|".join(map(re.escape, CHARACTERS)))


def escaped(text: str) -> str:
    """Returns text whose characters all stand for themselves in LaTeX.

    Args:
        text: any text. Letters beyond ASCII stay, which LaTeX reads as UTF-8.
    """
    return SPECIAL.sub(lambda match: CHARACTERS[match[0]], text)


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str, numeric: set[int]
) -> str:
    """Returns a table that a document with `\\usepackage{booktabs}` can include.

    Args:
        head: the names of the columns.
        rows: the cells, as many in each row.
        caption: the title.
        label: what `\\ref` names it by: letters, digits and hyphens.
        numeric: the columns of numbers, from 0, which end at the right.
    """
    columns = "".join("r" if column in numeric else "l" for column in range(len(head)))

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_cell, cells)) + r" \\"

    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line(head),
            r"\midrule",
            *map(line, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _cell(text: str) -> str:
    """Returns a cell. One that begins with a bracket would be read as the option of the line break
    before it."""
    return f"{{}}{escaped(text)}" if text.startswith(("[", "*")) else escaped(text)
