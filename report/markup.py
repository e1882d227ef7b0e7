"""Pieces of HTML that the sections share.

Every function escapes the text that it is handed, except arguments whose name ends in `html`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

UNDEFINED = "–"


def section(anchor: str, title: str, margin: str, matter_html: str) -> str:
    """Returns a section of a page.

    Args:
        anchor: its id.
        title: its heading.
        margin: the text below the heading.
        matter_html: what stands beside the heading.
    """
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title"><div class="margin">'
        f'<h2 id="{anchor}-title">{escape(title)}</h2><p>{escape(margin)}</p></div>'
        f'<div class="matter">{matter_html}</div></section>'
    )


def notice(html: str, alert: bool = False) -> str:
    """Returns a paragraph that is set off from the others.

    Args:
        html: the text, as HTML.
        alert: whether its colour sets it off as well.
    """
    return f'<p class="notice{" alert" if alert else ""}" role="note">{html}</p>'


def missing(path: Path, what: str) -> str:
    """Returns the notice that a part of the page is missing, because a file is.

    Args:
        path: the file.
        what: what the page would show from it, in words.
    """
    return notice(f"No {escape(what)}: {code(path)} is missing.")


def code(value: object) -> str:
    """Returns a value as code.

    Args:
        value: what is shown, by its `str`.
    """
    return f"<code>{escape(str(value))}</code>"


def source(*paths: Path) -> str:
    """Returns the line that says which files something comes from; nothing if there are none."""
    if not paths:
        return ""
    return f'<p class="source">From {", ".join(code(path) for path in paths)}</p>'


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number with fixed decimals and a true minus sign; a dash if it is not finite.

    Args:
        value: the number; None counts as not finite.
        digits: how many decimals.
    """
    if value is None or not np.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}f}".replace("-", "−")


def significant(value: float | None, digits: int = 4) -> str:
    """Returns a number with significant digits and a true minus sign; a dash if not finite.

    Args:
        value: the number; None counts as not finite.
        digits: how many significant digits.
    """
    if value is None or not np.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}g}".replace("-", "−")


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    caption: str,
    text_columns: int = 1,
    total: bool = False,
    kind: str = "",
) -> str:
    """Returns a table.

    Args:
        head: the names of the columns.
        rows: the cells. The first of each row names it.
        caption: the title.
        text_columns: how many columns hold text; those after them hold numbers.
        total: whether the last row is set off, as a sum.
        kind: for the style sheet. `wide` fills the column; `items` does so too, and scrolls
            sideways where the column is narrow.
    """

    def cells(row: Sequence[object], element: str) -> str:
        parts = []
        for column, value in enumerate(row):
            tag = "th" if element == "th" or column == 0 else "td"
            scope = f' scope="{"col" if element == "th" else "row"}"' if tag == "th" else ""
            numeric = ' class="number"' if column >= text_columns else ""
            parts.append(f"<{tag}{scope}{numeric}>{escape(str(value))}</{tag}>")
        return "".join(parts)

    lines = []
    for index, row in enumerate(rows):
        mark = ' class="total"' if total and index == len(rows) - 1 else ""
        lines.append(f"<tr{mark}>{cells(row, 'td')}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table{f' class={kind}' if kind else ''}><caption>{escape(caption)}</caption>"
        f"<thead><tr>{cells(head, 'th')}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def download(name: str, frame: pd.DataFrame) -> str:
    """Returns a link to a table as CSV, whose content is in the link itself.

    Args:
        name: the name of the file that the reader gets.
        frame: the table.
    """
    content = base64.b64encode(frame.to_csv(index=False).encode()).decode("ascii")
    return (
        f'<p class="source download"><a download="{escape(name)}" '
        f'href="data:text/csv;base64,{content}">{escape(name)}</a></p>'
    )


def details(label: str, html: str, unfolded: bool = False) -> str:
    """Returns a part of the page that folds away under its label.

    Args:
        label: the label, as text.
        html: the part.
        unfolded: whether it is unfolded at first.
    """
    return (
        f"<details{' open' if unfolded else ''}><summary>{escape(label)}</summary>{html}</details>"
    )


def listing(text: str, label: str) -> str:
    """Returns preformatted text.

    Args:
        text: the text.
        label: what screen readers call it.
    """
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}">{escape(text)}</pre>'


def plural(count: int, noun: str) -> str:
    """Returns a count with its noun, as `1 step` or `2,000 steps`.

    Args:
        count: the number.
        noun: the noun in the singular, which takes an s in the plural.
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
