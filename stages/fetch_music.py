"""fetch_music: the songs and their stems, in MUSDB18-HQ's layout.

data/music/{train,test}/<song>/{mixture,vocals,drums,bass,other}.wav, 44.1 kHz stereo,
as `musdb.DB(root, is_wav=True)` reads it.
"""

from __future__ import annotations

from pathlib import Path

from contract.errors import InputError
from contract.layout import MUSIC
from contract.params import MiniMusic, Musdb18Excerpts, Musdb18HQ, Music, MusicFolder, load
from stages.datasets import embedded_song, musdb18, musdb_folder
from stages.fetching.paths import configured_path
from stages.run import run


def main() -> None:
    fetch(load().music, MUSIC)


def fetch(music: Music, target: Path) -> None:
    """Puts the chosen songs into the new folder `target`.

    Raises:
        InputError: the songs are missing, cannot be downloaded, or are not those expected.
    """
    if isinstance(music, MiniMusic):
        embedded_song.fetch(music, target)
        return
    copy = _configured_copy(music)
    if isinstance(music, Musdb18Excerpts):
        musdb18.fetch_excerpts(music, copy, target)
    elif copy is not None and copy.is_dir():
        musdb_folder.copy_songs(musdb_folder.find_root(copy, copy), target)
    else:
        musdb18.fetch_full(music, copy, target)


def _configured_copy(music: Musdb18HQ | Musdb18Excerpts | MusicFolder) -> Path | None:
    """The user's copy of the songs, a folder or an archive; None if there is none."""
    if music.path is None:
        return None
    path = configured_path(music.path)
    may_be_archive = not isinstance(music, MusicFolder)
    if path.is_dir() or (may_be_archive and path.is_file()):
        return path
    problem = f"{path} is not a folder" if path.exists() else f"there is nothing at {path}"
    remedy = "set it to the folder that holds train/ and test/"
    raise InputError(
        "music.path", problem, f"{remedy}, or to the zip" if may_be_archive else remedy
    )


if __name__ == "__main__":
    run(main)
