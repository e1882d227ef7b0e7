"""Separate the test songs: `python -m spleeter_mod.estimate --params params.yaml`."""

import json
import sys
from pathlib import Path

import soundfile
from tqdm import tqdm

from spleeter_mod import tracks
from spleeter_mod.arguments import Parser
from spleeter_mod.errors import InputError, one_line
from spleeter_mod.files import replacing
from spleeter_mod.settings import CHANNELS, MODEL, RESULTS, STEMS, Settings
from spleeter_mod.wav import FloatWav


def estimate(songs: list[tracks.Track], params: dict, sample_rate: int) -> None:
    """Write the estimates of all songs, or none.

    Args:
        songs: to be separated.
        params: Spleeter's configuration of the model.
        sample_rate: of the songs, in Hz.
    """
    from spleeter_mod import session
    from spleeter_mod.separation import Separator

    with session.explained(MODEL), replacing(RESULTS / "estimates") as (folder,):
        session_config = session.configure()
        session.be_deterministic()
        separator = Separator(params, MODEL, session_config)
        for song in tqdm(songs, unit="track", disable=not sys.stderr.isatty()):
            track = folder / song.name
            track.mkdir(parents=True)
            with soundfile.SoundFile(song.mixture) as mixture:
                _write(separator.separate(mixture), track, sample_rate, song.frames)
    print(f"{len(songs)} track(s) separated", flush=True)


def _write(pieces, folder, sample_rate, frames):
    files = {
        stem: FloatWav(folder / f"{stem}.wav", sample_rate, CHANNELS, frames) for stem in STEMS
    }
    try:
        for piece in pieces:
            for stem, file in files.items():
                file.write(piece[stem])
    finally:
        for file in files.values():
            file.close()


def _read_configuration(path):
    expected = "the model of spleeter_mod.train"
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "no file", expected) from None
    except ValueError as error:
        raise InputError(path, f"no JSON ({error})", "Spleeter's configuration") from None
    if not (path.parent / "checkpoint").exists():
        raise InputError(path.parent, "no checkpoint", expected)
    return configuration


@one_line
def main(arguments=None):
    parser = Parser(__doc__)
    parser.add_argument("--params", type=Path, required=True, help="the composed params.yaml")
    options = parser.parse_args(arguments)
    rate = Settings.read(options.params).sample_rate
    songs = tracks.read(tracks.LISTS / "test.csv", rate).tracks
    names = [song.name for song in songs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(tracks.LISTS / "test.csv", f"two tracks named {name}", "one")
    estimate(songs, _read_configuration(MODEL / "config.json"), rate)


if __name__ == "__main__":
    main()
