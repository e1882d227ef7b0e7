"""MUSDB18-HQ's folder layout: {train,test}/<song>/{mixture,vocals,drums,bass,other}.wav."""

from __future__ import annotations

import shutil
from pathlib import Path

from contract.errors import InputError
from contract.files import new_folder, writing
from contract.layout import configured_path
from contract.names import check_names
from contract.params import MusicFolder
from contract.sources import STEMS
from metrics.core.progress import progress

SPLITS = ("train", "test")
SCORES_SUFFIX = ".json"  # the suffix of the file of a song's scores, named after its folder
MIXTURE_FILE = "mixture.wav"
STEM_FILES = tuple(f"{stem}.wav" for stem in STEMS)
FILES = (MIXTURE_FILE, *STEM_FILES)


def fetch(music: MusicFolder, target: Path) -> None:
    """Copies the user's own songs.

    Args:
        music: the configuration.
        target: the new folder of the songs.

    Raises:
        InputError: there is no such folder, or as `copy_songs`.
    """
    copy_songs(find_copy(music.path, may_be_archive=False), target)


def find_copy(path: str, may_be_archive: bool) -> Path:
    """Returns the user's own copy of songs: the folder that holds train/ and test/, or an archive.

    Args:
        path: the value of music.path.
        may_be_archive: whether the copy may be an archive.

    Raises:
        InputError: there is no such folder and, where that is allowed, no such archive.
    """
    copy = configured_path(path)
    if copy.is_dir():
        return find_root(copy, copy)
    if may_be_archive and copy.is_file():
        return copy
    problem = f"{copy} is not a folder" if copy.exists() else f"there is nothing at {copy}"
    remedy = "set it to the folder that holds train/ and test/"
    remedy = f"{remedy}, or to the zip" if may_be_archive else remedy
    raise InputError("music.path", problem, remedy)


def find_root(folder: Path, where: str | Path) -> Path:
    """Finds the folder that holds train/ and test/: `folder` or one directly below it.

    Args:
        folder: where to look.
        where: what an error calls that place.

    Raises:
        InputError: there is no such folder.
    """
    entries = sorted(path for path in folder.iterdir() if path.name != "__MACOSX")
    for candidate in (folder, *entries):
        if all((candidate / split).is_dir() for split in SPLITS):
            return candidate
    raise InputError(
        where, "has no folders train/ and test/", "put the songs into train/ and test/"
    )


def find_songs(root: Path) -> list[Path]:
    """Finds the songs' folders and checks that they are complete.

    Args:
        root: the folder that holds train/ and test/.

    Returns:
        The songs' paths relative to `root`.

    Raises:
        InputError: a split has no songs, a song lacks one of its files, or its name cannot become
            the name of a file of scores.
    """
    songs = []
    for split in SPLITS:
        in_split = song_folders(root / split)
        for song in in_split:
            for name in FILES:
                if not (song / name).is_file():
                    remedy = f"a song needs {', '.join(FILES)}"
                    raise InputError(song / name, "there is no such file", remedy)
        songs += [song.relative_to(root) for song in in_split]
    return songs


def song_folders(folder: Path) -> list[Path]:
    """Returns the songs' folders in `folder`, which is train/ or test/, sorted by name.

    Args:
        folder: the folder of a split.

    Raises:
        InputError: there are no songs, or a song's name cannot become the name of a file of scores.
    """
    songs = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not songs:
        raise InputError(folder, "has no songs", "add a folder for each song")
    check_names(songs, SCORES_SUFFIX)
    return songs


def copy_songs(source: Path, target: Path) -> None:
    """Copies the songs, and nothing else, to the folder `target`.

    Args:
        source: the folder that holds train/ and test/.
        target: the new folder.

    Raises:
        InputError: as `find_songs`.
    """
    songs = find_songs(source)
    with new_folder(target) as root:
        for song in progress(songs, "fetch_music", "song"):
            (root / song).mkdir(parents=True)
            for name in FILES:
                with (source / song / name).open("rb") as wav, writing(root / song / name) as copy:
                    shutil.copyfileobj(wav, copy, 2**20)
