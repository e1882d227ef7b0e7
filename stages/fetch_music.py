"""fetch_music: the songs and their stems, in MUSDB18-HQ's layout.

data/music/{train,test}/<song>/{mixture,vocals,drums,bass,other}.wav, 44.1 kHz stereo,
as `musdb.DB(root, is_wav=True)` reads it.
"""

import hashlib
from importlib.resources import as_file, files
from pathlib import Path

from metrics.errors import InputError
from stages import musdb18, musdb_folder
from stages.given import given
from stages.layout import MUSIC
from stages.outputs import directory
from stages.params import MiniMusic, Musdb18HQ, Music, MusicFolder, load
from stages.run import run
from stages.stems import decode, write_song


def main() -> None:
    fetch(load().music, MUSIC)


def fetch(music: Music, target: Path) -> None:
    """Puts the chosen songs into the folder `target`.

    Raises:
        InputError: they cannot be had, or are not what they should be.
    """
    if isinstance(music, MiniMusic):
        cut_excerpt(music, target)
        return
    copy = _copy(music)
    if copy is not None and copy.is_dir() and isinstance(music, (MusicFolder, Musdb18HQ)):
        musdb_folder.copy(musdb_folder.find(copy, copy), target)
    elif isinstance(music, Musdb18HQ):
        musdb18.fetch_full(music, copy, target)
    else:
        musdb18.fetch_excerpts(music, copy, target)


def _copy(music: Music) -> Path | None:
    """What is on this machine already, as the user says."""
    if music.path is None:
        return None
    path = given(music.path)
    archives = not isinstance(music, MusicFolder)
    if not (path.is_dir() or (archives and path.is_file())):
        found = f"nothing at {path}" if not path.exists() else f"the file {path}"
        choice = ", or the zip" if archives else ""
        raise InputError("music.path", found, f"the folder that holds train/ and test/{choice}")
    return path


def cut_excerpt(music: MiniMusic, target: Path) -> None:
    """Cuts the excerpt that the stempeg package ships into one song per split.

    Raises:
        InputError: the excerpt is not the one expected, or too short for its parts.
    """
    excerpt = music.source
    with as_file(files("stempeg") / "data" / excerpt.file) as source:
        if not source.is_file():
            raise InputError(source, "no such file", "the excerpt in the stempeg package")
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
        if sha256 != excerpt.sha256:
            raise InputError(source, f"sha256 {sha256}", excerpt.sha256)
        stems = decode(source, music.sample_rate)
    title = excerpt.file.removesuffix(".stem.mp4")
    with directory(target) as root:
        seconds = stems.shape[1] / music.sample_rate
        for part, (start, end) in excerpt.parts:
            if end > seconds:
                key = f"music.source.parts.{part}"
                raise InputError(key, f"{end} s", f"at most {seconds:.2f} s")
            folder = root / ("test" if part == "test" else "train") / f"{title} ({part})"
            cut = slice(round(start * music.sample_rate), round(end * music.sample_rate))
            write_song(folder, stems[:, cut], music.sample_rate)


if __name__ == "__main__":
    run(main)
