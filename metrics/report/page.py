"""The page: its sections in the order a reader asks, in one file that needs no network."""

from importlib.resources import files
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from metrics.report import against, curves, health, listen, provenance, scores, summary
from metrics.report.markup import section
from metrics.report.results import Workspace

SECTIONS = {
    "summary": ("Summary", summary),
    "scores": ("Scores", scores),
    "curves": ("Training", curves),
    "study": ("Against the study", against),
    "health": ("Health", health),
    "listen": ("Listen", listen),
    "provenance": ("Provenance", provenance),
}


def build(root: Path) -> str:
    """The report of the workspace at `root`, as HTML. The same files give the same page.

    What is missing (a model not trained yet, a diverged one's scores) is said in its place.
    Raises: `InputError` for a file that is there but is not what it should be.
    """
    workspace = Workspace.read(root)
    sections = {
        anchor: (title, module.render(workspace)) for anchor, (title, module) in SECTIONS.items()
    }
    return assemble(summary.title(workspace), summary.heading(workspace), sections)


def assemble(
    title_html: str, heading_html: str, sections: dict, above_html: str = "", style_css: str = ""
) -> str:
    """A page of `sections`: by anchor a title, and what stands in the margin and in the column;
    `above` all of them. `style`: what the page has besides `page.css`."""
    parts = files("metrics.report")
    return Template((parts / "page.html").read_text(encoding="utf-8")).substitute(
        title=title_html,
        heading=heading_html,
        contents="".join(
            f'<li><a href="#{anchor}">{title}</a></li>' for anchor, (title, _) in sections.items()
        ),
        body=above_html
        + "\n".join(
            section(anchor, title, *matter) for anchor, (title, matter) in sections.items()
        ),
        style=(parts / "page.css").read_text(encoding="utf-8") + style_css,
        script=(parts / "page.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )
