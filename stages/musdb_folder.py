"""MUSDB18-HQ's folder layout: {train,test}/<song>/{mixture,vocals,drums,bass,other}.wav."""

import shutil
from pathlib import Path

from metrics.errors import InputError
from metrics.names import check_names
from metrics.progress import progress
from stages.files import writing
from stages.outputs import directory

SPLITS = ("train", "test")
SCORES = ".json"  # what a song's scores are named, after its folder
FILES = tuple(f"{name}.wav" for name in ("mixture", "vocals", "drums", "bass", "other"))


def find(folder: Path, where) -> Path:
    """The folder that holds train/ and test/: `folder` or one in it.

    Args:
        where: what an error names as their place.

    Raises:
        InputError: there is none.
    """
    below = sorted(path for path in folder.iterdir() if path.name != "__MACOSX")
    for candidate in (folder, *below):
        if all((candidate / split).is_dir() for split in SPLITS):
            return candidate
    raise InputError(where, "no train/ and test/", "songs in these two folders")


def songs(root: Path) -> list[Path]:
    """The songs' folders below `root`, as paths relative to it.

    Raises:
        InputError: a split without songs, a song without one of its files, or with a name that its
            scores cannot have.
    """
    found = []
    for split in SPLITS:
        some = sorted(path for path in (root / split).iterdir() if path.is_dir())
        if not some:
            raise InputError(root / split, "no songs", "a folder per song")
        check_names(some, SCORES)
        for song in some:
            for name in FILES:
                if not (song / name).is_file():
                    raise InputError(song / name, "no such file", "a song's five WAV files")
        found += [song.relative_to(root) for song in some]
    return found


def copy(source: Path, target: Path) -> None:
    """Copies the songs, and nothing else, to the folder `target`.

    Raises:
        InputError: as `songs`.
    """
    found = songs(source)
    with directory(target) as root:
        for song in progress(found, "fetch_music", "song"):
            (root / song).mkdir(parents=True)
            for name in FILES:
                with (
                    (source / song / name).open("rb") as wav,
                    writing(root / song / name) as copied,
                ):
                    shutil.copyfileobj(wav, copied, 2**20)
