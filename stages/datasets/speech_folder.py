"""The user's own mixtures, in the layout `{tr,cv,tt}/{mix,s1,s2,…}/<name>.wav`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from contract.errors import BadFilesError, InputError
from contract.files import new_folder
from contract.layout import configured_path
from contract.model_settings import MOST_SPEAKERS
from contract.names import check_names
from contract.params import SpeechFolder
from contract.sources import MIXTURE, speaker
from metrics.core.progress import progress
from stages.datasets.wsj0mix import SPLITS, part_names


def fetch(speech: SpeechFolder, corpus: Path, recipes: Path) -> None:
    """Copies the mixtures and their sources to corpus/{tr,cv,tt}/{mix,s1,s2,…}/.

    Args:
        speech: the configuration.
        corpus: the new folder of the mixtures.
        recipes: a new folder, which stays empty: the mixtures are ready-made.

    Raises:
        InputError: there is no such folder, a split has no mixtures, sources are missing or are
            those of another number of speakers, or files have names that no list can hold.
    """
    root = configured_path(speech.path)
    if not root.is_dir():
        remedy = "set it to the folder that holds tr/, cv/ and tt/"
        raise InputError("speech.path", f"there is no folder {root}", remedy)
    files = [path for split in SPLITS.values() for path in _files(root, split, speech.speakers)]
    missing = [
        InputError(root / path, "there is no such file", "every mixture needs all its sources")
        for path in files
        if not (root / path).is_file()
    ]
    if missing:
        raise BadFilesError(missing)
    with new_folder(recipes), new_folder(corpus) as copy:
        for path in progress(files, "fetch_speech", "file"):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, copy / path)


def _files(root: Path, split: str, speakers: int) -> list[Path]:
    """The paths of a split's mixtures and their sources, relative to `root`."""
    mixtures = sorted((root / split / MIXTURE).glob("*.wav"))
    if not mixtures:
        raise InputError(root / split / MIXTURE, "has no WAV files", "put the mixtures there")
    check_names(mixtures)
    _check_speakers(root / split, speakers)
    names = [path.name for path in mixtures]
    return [Path(split, part, name) for part in part_names(speakers) for name in names]


def _check_speakers(folder: Path, speakers: int) -> None:
    """Raises InputError unless `folder` holds s1, s2, … for exactly that many speakers."""
    paths = (path for path in folder.iterdir() if path.is_dir())
    numbers = sorted(
        int(path.name[1:]) for path in paths if re.fullmatch("s[1-9][0-9]*", path.name)
    )
    if numbers == list(range(1, speakers + 1)):
        return
    names = ", ".join(speaker(number) for number in numbers)
    count = len(numbers)
    if 2 <= count <= MOST_SPEAKERS and numbers == list(range(1, count + 1)):
        problem = f"is {speakers}, and {folder} holds the sources of {count} ({names})"
        raise InputError("speech.speakers", problem, f"set it with -S speech.speakers={count}")
    problem = f"holds the source folders {names}" if names else "holds no source folders s1, s2, …"
    raise InputError(folder, problem, f"it needs s1, s2, … for 2 to {MOST_SPEAKERS} speakers")
