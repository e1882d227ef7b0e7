"""The section for papers, and what a page leaves beside it for them and for other pages: its tables
as LaTeX and as Markdown, its data as CSV, and the paragraph about the methods.
"""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from contract.files import remove
from contract.files import write as write_file
from report import latex, markdown

MARGIN = (
    "A paragraph about the methods, with the numbers filled in. It lies also in a folder beside "
    "this page, as text and as LaTeX, with each table of the page as LaTeX and as Markdown, and "
    "with its data as CSV."
)
METHODS = "methods"  # the paragraph's id on the page, and the name of its files
MARKDOWN = "tables.md"
FOLDER = "_tables"  # ends the name of the folder, which begins with the page's


class PageTable(NamedTuple):
    """A table as the page has it."""

    name: str  # of its file: the section, the model and the caption, joined by hyphens
    headings: tuple[str, str]  # above it: the section's and, if there are some, the model's
    caption: str
    head: list[str]
    rows: list[list[str]]
    numeric: set[int]  # the columns of numbers, from 0


def render(methods: str) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        methods: the paragraph, as plain text.
    """
    return MARGIN, f'<p class="methods" id="{METHODS}">{escape(methods)}</p>'


def write(page: str, folder: Path) -> int:
    """Writes what a page leaves for papers.

    That is `NN-section-caption.tex` for each table, all tables in one Markdown file, the CSV files
    that the page offers, and the methods paragraph. All files are there or, when this fails, none.
    The folder of an earlier page is replaced.

    Args:
        page: its HTML.
        folder: where the files go: `NAME_tables` beside the page `NAME.html`.

    Returns:
        How many tables there are.

    Raises:
        OSError: a file cannot be written.
    """
    reader = _Reader()
    reader.feed(page)
    contents = {
        f"{number:02}-{name}.tex": latex.table(head, rows, caption, name, numeric)
        for number, (name, _, caption, head, rows, numeric) in enumerate(reader.tables, start=1)
    }
    contents |= reader.data
    if reader.tables:
        contents[MARKDOWN] = _in_markdown(reader.tables)
    if reader.methods:
        contents[f"{METHODS}.txt"] = f"{reader.methods}\n"
        contents[f"{METHODS}.tex"] = f"{latex.escaped(reader.methods)}\n"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Its name is short: the page's may be as long as a name can be.
    with tempfile.TemporaryDirectory(prefix=".tables-", dir=folder.parent) as parent:
        new = Path(parent) / "new"
        new.mkdir()
        for name, content in contents.items():
            write_file(new / name, content)
        remove(folder)
        new.rename(folder)
    return len(reader.tables)


def _in_markdown(tables: Sequence[PageTable]) -> str:
    """Returns all tables of a page, each below the headings that it has there."""
    parts: list[str] = []
    above = ("", "")
    for _, headings, caption, head, rows, numeric in tables:
        if headings[0] != above[0]:
            parts.append(f"## {headings[0]}")
        if headings[1] and headings != above:
            parts.append(f"### {headings[1]}")
        above = headings
        parts.append(markdown.table(head, rows, caption, numeric))
    return "\n\n".join(parts) + "\n"


class _Reader(HTMLParser):
    """Collects the tables of a page, its data, and its paragraph about the methods."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[PageTable] = []
        self.data: dict[str, str] = {}  # the content of each CSV file, by its name
        self.methods = ""
        self._section = self._part = self._title = ""
        self._caption, self._rows, self._numeric = "", [], set()
        self._text: list[str] | None = None  # the text of the element that is being read
        self._in_methods = False

    def handle_starttag(self, tag: str, attributes: Sequence[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "section":
            self._section, self._part, self._title = values.get("id") or "", "", ""
        elif tag == "table":
            self._caption, self._rows, self._numeric = "", [], set()
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td"):
            if values.get("class") == "number":
                self._numeric.add(len(self._rows[-1]))
            self._text = []
        elif tag == "a" and (name := values.get("download")):
            content = (values.get("href") or "").partition(";base64,")[2]
            self.data[name] = base64.b64decode(content).decode()
        elif tag in ("caption", "h2", "h3") or (tag == "p" and values.get("id") == METHODS):
            self._in_methods = tag == "p"
            self._text = []

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            head, *rows = self._rows
            words = f"{self._section} {self._part} {self._caption}".lower()
            name = "-".join(re.findall(r"[a-z0-9]+", words))
            headings = (self._title, self._part)
            self.tables.append(PageTable(name, headings, self._caption, head, rows, self._numeric))
        if self._text is None or tag not in ("th", "td", "caption", "h2", "h3", "p"):
            return
        text = "".join(self._text)
        if tag in ("th", "td"):
            self._rows[-1].append(text)
        elif tag == "caption":
            self._caption = text
        elif tag == "h2":
            self._title = text
        elif tag == "h3":
            self._part = text
        elif self._in_methods:
            self.methods, self._in_methods = text, False
        self._text = None
