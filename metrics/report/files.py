"""What a comparison leaves on the disk: its page, and the figures for papers."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from metrics import revisions
from metrics.experiments import Experiment, summary, variant_of
from metrics.names import name_error
from metrics.report import images
from metrics.report.comparison import compare
from metrics.report.listen import first_item, heard
from metrics.workspace import MUSIC_TEST, SPEECH_TEST

FIGURES = "_figures"  # the folder's name: the page's and this


def write_comparison(revs: Sequence[str], baseline: str | None, out: Path) -> None:
    """Writes the page `out` about some revisions of the repository in the working directory, and
    its figures beside it where a Chromium can draw them.

    baseline: the one whose variant the others are compared with; the first if None.
    Raises: `InputError` for a revision that there is not, a file that is not what it should be, or
    a name `out` that is too long.
    """
    if error := name_error(out, out.name) or name_error(out, out.stem, FIGURES):
        raise error
    with tempfile.TemporaryDirectory() as folder:
        experiments = revisions.read(Path(), list(dict.fromkeys(revs)), Path(folder))
        runs = summary(experiments)
        played = set(heard(runs, variant_of(runs, baseline))["experiment"])
        for experiment in experiments:
            if experiment.name in played:
                _fetch_audio(experiment)
        page = compare(experiments, baseline)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{os.getpid()}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(out)
    print(f"{out}: {len(experiments)} experiments")
    folder = out.with_name(f"{out.stem}{FIGURES}")
    if images.browser() is None:
        print(f"no {folder}: it takes {images.BROWSERS[0]} to draw them")
    else:
        shutil.rmtree(folder, ignore_errors=True)  # figures of an earlier page
        print(f"{folder}: {images.write(page, folder)} figures, as PNG and SVG")


def _fetch_audio(experiment: Experiment) -> None:
    """Adds to its folder what the page plays of it, and the lists that say what that is."""
    revisions.add(Path(), experiment, [MUSIC_TEST, SPEECH_TEST])
    for model in experiment.workspace.models:
        if item := first_item(experiment.workspace.root, model):
            revisions.add(Path(), experiment, item.paths())
