"""fetch_music: the songs and their stems, in MUSDB18-HQ's layout.

data/music/{train,test}/<song>/{mixture,vocals,drums,bass,other}.wav, 44.1 kHz stereo,
as `musdb.DB(root, is_wav=True)` reads it.
"""

from __future__ import annotations

from pathlib import Path

from contract.layout import MUSIC
from contract.params import MiniMusic, Musdb18Excerpts, Musdb18HQ, Music, MusicFolder, load
from stages.datasets import embedded_song, musdb18, musdb_folder
from stages.run import run

FETCH = {
    MiniMusic: embedded_song.fetch,
    Musdb18HQ: musdb18.fetch_full,
    Musdb18Excerpts: musdb18.fetch_excerpts,
    MusicFolder: musdb_folder.fetch,
}


def main() -> None:
    """Fetches the songs that configuration.yaml chooses."""
    fetch(load().music, MUSIC)


def fetch(music: Music, target: Path) -> None:
    """Puts the chosen songs into the new folder `target`.

    Args:
        music: the configuration.
        target: the new folder of the songs.

    Raises:
        InputError: the songs are missing, cannot be downloaded, or are not those expected.
    """
    FETCH[type(music)](music, target)


if __name__ == "__main__":
    run(main)
