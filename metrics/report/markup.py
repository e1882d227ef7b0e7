"""Pieces of HTML that the sections share. Every function escapes the text it is given, but for
arguments called `html`, which are HTML already."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

UNDEFINED = "–"


def section(anchor: str, title: str, margin: str, matter_html: str) -> str:
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title"><div class="margin">'
        f'<h2 id="{anchor}-title">{escape(title)}</h2><p>{escape(margin)}</p></div>'
        f'<div class="matter">{matter_html}</div></section>'
    )


def notice(html: str, alert: bool = False) -> str:
    return f'<p class="notice{" alert" if alert else ""}" role="note">{html}</p>'


def missing(path: Path, what: str) -> str:
    return notice(f"No {escape(what)}: {code(path)} is missing.")


def code(value: object) -> str:
    return f"<code>{escape(str(value))}</code>"


def source(*paths: Path) -> str:
    if not paths:
        return ""
    return f'<p class="source">From {", ".join(code(path) for path in paths)}</p>'


def number(value: float | None, digits: int = 2) -> str:
    """A number with fixed digits and a true minus sign; a dash where there is none."""
    if value is None or not np.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}f}".replace("-", "−")


def significant(value: float | None, digits: int = 4) -> str:
    """A number with some significant digits; a dash where there is none."""
    if value is None or not np.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}g}".replace("-", "−")


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    text_columns: int = 1,
    total: bool = False,
    kind: str = "",
) -> str:
    """A table of escaped text; the first column names the rows, those from `text_columns` on hold
    numbers. `total` sets off the last row. `kind`, for the style sheet: `wide` fills the column,
    `items` also scrolls sideways where the column is narrow."""

    def cells(row: Sequence[str], element: str) -> str:
        made = []
        for column, value in enumerate(row):
            kind = "th" if element == "th" or column == 0 else "td"
            scope = f' scope="{"col" if element == "th" else "row"}"' if kind == "th" else ""
            numeric = ' class="number"' if column >= text_columns else ""
            made.append(f"<{kind}{scope}{numeric}>{escape(str(value))}</{kind}>")
        return "".join(made)

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


def download(name: str, table) -> str:
    """A link to a pandas frame as CSV, inside the page."""
    content = base64.b64encode(table.to_csv(index=False).encode()).decode("ascii")
    return (
        f'<p class="source download"><a download="{escape(name)}" '
        f'href="data:text/csv;base64,{content}">{escape(name)}</a></p>'
    )


def details(label: str, html: str, unfolded: bool = False) -> str:
    return (
        f"<details{' open' if unfolded else ''}><summary>{escape(label)}</summary>{html}</details>"
    )


def listing(text: str, label: str) -> str:
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}">{escape(text)}</pre>'


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
