"""The page about one run: its sections in the order in which a reader asks, in one file that needs
no network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from report import against, curves, health, listen, provenance, scores, summary
from report.colors import page_style
from report.markup import section
from report.results import Workspace

SECTIONS = {
    "summary": ("Summary", summary),
    "scores": ("Scores", scores),
    "curves": ("Training", curves),
    "study": ("Against the study", against),
    "health": ("Health", health),
    "listen": ("Listen", listen),
    "provenance": ("Provenance", provenance),
}

# By the section's anchor: its title, the text in the margin, the HTML beside it.
Sections = Mapping[str, tuple[str, tuple[str, str]]]


def build(root: Path) -> str:
    """Returns the report of a workspace as HTML. The same files always give the same page.

    Where something is missing, such as a model that is not trained yet, the page says so.

    Args:
        root: the workspace.

    Raises:
        InputError: a file is there but wrong.
    """
    workspace = Workspace.read(root)
    sections = {
        anchor: (title, module.render(workspace)) for anchor, (title, module) in SECTIONS.items()
    }
    return assemble(summary.title(workspace), summary.heading(workspace), sections)


def assemble(
    title_html: str,
    heading_html: str,
    sections: Sections,
    above_html: str = "",
    style_css: str = "",
) -> str:
    """Returns a page.

    Args:
        title_html: for the browser's title bar.
        heading_html: the masthead.
        sections: in their order.
        above_html: what stands above all sections.
        style_css: what the style sheet has besides `report.colors.page_style`.
    """
    fixed = files("report")
    return Template((fixed / "page.html").read_text(encoding="utf-8")).substitute(
        title=title_html,
        heading=heading_html,
        contents="".join(
            f'<li><a href="#{anchor}">{title}</a></li>' for anchor, (title, _) in sections.items()
        ),
        body=above_html
        + "\n".join(
            section(anchor, title, *matter) for anchor, (title, matter) in sections.items()
        ),
        style=page_style() + style_css,
        script=(fixed / "page.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )
