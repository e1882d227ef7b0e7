"""The embedded song: an excerpt that the stempeg package ships, cut into one song per split."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from contract.errors import InputError
from contract.files import new_folder
from contract.params import MiniMusic
from stages.datasets.stems import SUFFIX, decode, write_song
from stages.fetching.checksums import check_sha256


def fetch(music: MiniMusic, target: Path) -> None:
    """Cuts the excerpt and writes its parts in MUSDB18-HQ's layout.

    The parts to train and to validate on go to train/, as MUSDB18 has it.

    Args:
        music: the configuration.
        target: the new folder of the songs.

    Raises:
        InputError: the package ships no such excerpt or another one, or it is too short for its
            parts.
    """
    excerpt = music.source
    with as_file(files("stempeg") / "data" / excerpt.file) as source:
        if not source.is_file():
            raise InputError(source, "there is no such file", "run `make setup`")
        check_sha256(source, source.read_bytes(), excerpt.sha256)
        streams = decode(source, music.sample_rate)
    title = excerpt.file.removesuffix(SUFFIX)
    with new_folder(target) as root:
        seconds = streams.shape[1] / music.sample_rate
        for part, (start, end) in excerpt.parts:
            if end > seconds:
                key = f"music.source.parts.{part}"
                raise InputError.mismatch(key, f"an end at {end} s", f"at most {seconds:.2f} s")
            folder = root / ("test" if part == "test" else "train") / f"{title} ({part})"
            cut = slice(round(start * music.sample_rate), round(end * music.sample_rate))
            write_song(folder, streams[:, cut], music.sample_rate)
