"""Separate the test songs: `python -m spleeter_mod.estimate --params configuration.yaml`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.files import replacing
from contract.layout import ESTIMATES, MUSIC_TEST, SPLEETER_MODEL, SPLEETER_RESULTS
from contract.lists import check_distinct
from contract.sources import CHANNELS, STEMS
from contract.wav import FloatWav
from spleeter_mod import tracks
from spleeter_mod.settings import Settings


def estimate(songs: Sequence[tracks.Track], params: dict[str, Any], sample_rate: int) -> None:
    """Separates songs, and writes the estimates of all of them or none.

    Args:
        songs: the songs.
        params: Spleeter's configuration of the model.
        sample_rate: the sample rate of the songs, in Hz.

    Raises:
        InputError: the memory does not suffice.
        OSError: an estimate cannot be written.
    """
    from spleeter_mod import session
    from spleeter_mod.separation import Separator

    with session.explained(SPLEETER_MODEL), replacing(SPLEETER_RESULTS / ESTIMATES) as (folder,):
        session_config = session.configure()
        session.be_deterministic()
        separator = Separator(params, SPLEETER_MODEL, session_config)
        for song in tqdm(songs, unit="track", disable=not sys.stderr.isatty()):
            track = folder / song.name
            track.mkdir(parents=True)
            with soundfile.SoundFile(song.mixture) as mixture:
                _write(separator.separate(mixture), track, sample_rate, song.frames)
    print(f"{len(songs)} track(s) separated", flush=True)


def _write(
    pieces: Iterable[Mapping[str, np.ndarray]], folder: Path, sample_rate: int, frames: int
) -> None:
    """Writes the estimates of a song, one file for each stem.

    Args:
        pieces: the estimates piece by piece, as `Separator.separate` yields them.
        folder: for the files.
        sample_rate: in Hz.
        frames: the length of the song, in samples of each channel.
    """
    files = {
        stem: FloatWav(folder / f"{stem}.wav", sample_rate, CHANNELS, frames) for stem in STEMS
    }
    try:
        for piece in pieces:
            for stem, file in files.items():
                file.write(piece[stem].astype("<f4").tobytes())
    finally:
        for file in files.values():
            file.close()


def _read_configuration(path: Path) -> dict[str, Any]:
    """Reads Spleeter's configuration of the model, which lies beside the configuration."""
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "train Spleeter first") from None
    except ValueError as error:
        raise InputError(path, f"is not a JSON file ({error})", "train Spleeter again") from None
    if not (path.parent / "checkpoint").exists():
        raise InputError(path.parent, "has no checkpoint", "train Spleeter again")
    return configuration


@one_line
def main(arguments: Sequence[str] | None = None) -> None:
    """Separates the test songs as the command line says.

    Args:
        arguments: the arguments of the command line, by default those of this process.
    """
    parser = Parser(__doc__)
    parser.add_params()
    options = parser.parse_args(arguments)
    rate = Settings.read(options.params).sample_rate
    songs = tracks.read(MUSIC_TEST, rate).tracks
    check_distinct(MUSIC_TEST, "track", [song.name for song in songs])
    estimate(songs, _read_configuration(SPLEETER_MODEL / "config.json"), rate)


if __name__ == "__main__":
    main()
