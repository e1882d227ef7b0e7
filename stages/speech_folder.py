"""Mixtures of one's own, in the layout `{tr,cv,tt}/{mix,s1,s2,…}/<name>.wav`."""

import re
import shutil
from pathlib import Path

from metrics.errors import BadFilesError, InputError
from metrics.names import check_names
from metrics.progress import progress
from stages.given import given
from stages.outputs import directory
from stages.params import MOST_SPEAKERS, SpeechFolder
from stages.wsj0mix import SPLITS, folders


def fetch(speech: SpeechFolder, corpus: Path, recipes: Path) -> None:
    """Copies the mixtures and their sources to corpus/{tr,cv,tt}/{mix,s1,s2,…}/.

    Raises:
        InputError: no such folder, a split without mixtures, sources that are missing or of more
            speakers than are set, or names that files cannot bear.
    """
    root = given(speech.path)
    if not root.is_dir():
        raise InputError("speech.path", f"no folder {root}", "the one that holds tr/, cv/ and tt/")
    files = [path for split in SPLITS.values() for path in _files(root, split, speech.speakers)]
    missing = [path for path in files if not (root / path).is_file()]
    if missing:
        expected = "the source of a mixture"
        raise BadFilesError([InputError(root / p, "no such file", expected) for p in missing])
    with directory(recipes), directory(corpus) as ready:
        for path in progress(files, "fetch_speech", "file"):
            (ready / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, ready / path)


def _files(root: Path, split: str, speakers: int) -> list[Path]:
    """The files of a split, relative to `root`: of every mixture, it and its sources."""
    mixtures = sorted((root / split / "mix").glob("*.wav"))
    if not mixtures:
        raise InputError(root / split / "mix", "no WAV files", "mixtures")
    check_names(mixtures)
    _check_speakers(root / split, speakers)
    names = [path.name for path in mixtures]
    return [Path(split, folder, name) for folder in folders(speakers) for name in names]


def _check_speakers(folder: Path, speakers: int) -> None:
    """Raises InputError unless `folder` holds s1, s2, … for as many speakers as are set."""
    paths = (path for path in folder.iterdir() if path.is_dir())
    numbers = sorted(
        int(path.name[1:]) for path in paths if re.fullmatch("s[1-9][0-9]*", path.name)
    )
    if numbers == list(range(1, speakers + 1)):
        return
    there = ", ".join(f"s{number}" for number in numbers) or "no s1, s2, …"
    if 2 <= len(numbers) <= MOST_SPEAKERS and numbers == list(range(1, len(numbers) + 1)):
        expected = f"{len(numbers)} for {there} in {folder}: -S speech.speakers={len(numbers)}"
        raise InputError("speech.speakers", speakers, expected)
    raise InputError(folder, there, "the sources of two to ten speakers, in s1, s2, …")
