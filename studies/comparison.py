"""What a comparison leaves on the disk: its page, and the tables and figures for papers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.files import remove, write_shared
from contract.names import name_error
from report import images, papers
from report.comparison import compare
from report.experiments import Experiment, summary, variant_of
from report.listen import first_item, heard
from report.tuning import Tuning, counted
from studies import revisions

FIGURES = "_figures"  # ends the name of the figures' folder, which begins with the page's


def write_comparison(
    names: Sequence[str],
    baseline: str | None,
    out: Path,
    tuning: Tuning | None = None,
    elsewhere: Mapping[str, revisions.Elsewhere] | None = None,
) -> None:
    """Writes a page about some revisions of the repository in the working directory.

    The page's tables are written beside it as LaTeX, and its figures if a Chromium is installed,
    which draws them.

    Args:
        names: experiments, commits, branches or tags.
        baseline: the one whose variant the others are compared with; the first if None.
        out: the page.
        tuning: how the settings of the experiments were chosen, if they were tuned.
        elsewhere: experiments without a result that DVC's queue does not know, by their names.

    Raises:
        InputError: a revision does not exist, one of its files is invalid, or the name of `out` is
            too long.
    """
    if error := name_error(out, out.name) or name_error(out, out.stem, FIGURES):
        raise error
    with tempfile.TemporaryDirectory() as folder:
        unique = list(dict.fromkeys(names))
        experiments = revisions.read(Path(), unique, Path(folder), elsewhere)
        runs = summary(experiments)
        if tuning:
            runs = counted(runs, tuning)
        played = set(heard(runs, variant_of(runs, baseline))["experiment"])
        for experiment in experiments:
            if experiment.name in played:
                _fetch_audio(experiment)
        page = compare(experiments, baseline, tuning)
    write_shared(out, page)
    print(f"{out}: {len(experiments)} experiments")
    tables = out.with_name(f"{out.stem}{papers.FOLDER}")
    print(f"{tables}: {papers.write(page, tables)} tables, the data, and the methods in words")
    figures = out.with_name(f"{out.stem}{FIGURES}")
    if images.browser() is None:
        print(f"{figures}: not written, because {images.BROWSERS[0]} is not installed")
    else:
        print(f"{figures}: {_draw(page, figures)} figures, as PNG and SVG")


def _draw(page: str, figures: Path) -> int:
    """Draws a page's figures into a folder: all of them or, when this fails, none.

    Args:
        page: its HTML.
        figures: the folder; that of an earlier page is removed.

    Returns:
        How many figures there are.
    """
    remove(figures)
    # Its name is short, unlike those of `new_folder`: the page's may be as long as a name can be.
    with tempfile.TemporaryDirectory(prefix=".figures-", dir=figures.parent) as folder:
        drawn = Path(folder) / "drawn"
        count = images.write(page, drawn)
        if drawn.exists():
            drawn.rename(figures)
    return count


def _fetch_audio(experiment: Experiment) -> None:
    """Adds the audio that the page plays to an experiment's folder, and the lists that name it."""
    for model in experiment.workspace.models:
        revisions.add_files(Path(), experiment, [model.test_list])
        if item := first_item(experiment.workspace.root, model):
            revisions.add_files(Path(), experiment, item.paths())
