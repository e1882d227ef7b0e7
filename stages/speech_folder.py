"""Mixtures of one's own, in the layout `{tr,cv,tt}/{mix,s1,s2,…}/<name>.wav`."""

import shutil
from pathlib import Path

from metrics.errors import BadFilesError, InputError
from metrics.names import check_names
from metrics.progress import progress
from stages.given import given
from stages.outputs import directory
from stages.params import SpeechFolder
from stages.wsj0mix import SPLITS, folders


def fetch(speech: SpeechFolder, corpus: Path, recipes: Path) -> None:
    """Copies the mixtures and their sources to corpus/{tr,cv,tt}/{mix,s1,s2,…}/.

    Raises:
        InputError: no such folder, a split without mixtures, sources that are missing, or
            names that files cannot bear.
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
    names = [path.name for path in mixtures]
    return [Path(split, folder, name) for folder in folders(speakers) for name in names]
