"""csv_music: checks the songs and lists them in Spleeter's CSV format, one file per split."""

from pathlib import Path

import pandas as pd

from stages.audio import expect, inspect
from stages.errors import InputError
from stages.fetch_music import MUSIC
from stages.outputs import directory
from stages.params import Music, load
from stages.run import run

LISTS = Path("data/csv/music")
TARGETS = ("vocals", "drums", "bass", "other")


def main() -> None:
    write_lists(load().music, MUSIC, LISTS)


def write_lists(music: Music, source: Path, target: Path) -> None:
    """One row per track: mix_path,vocals_path,drums_path,bass_path,other_path,duration (seconds).

    Raises:
        InputError: a split without tracks, or a file that is missing, cut short, or differs from
            its mixture in length, sample rate or channels.
    """
    splits = _splits(music, source)
    with directory(target) as folder:
        for split, tracks in splits.items():
            rows = [_row(track, music.sample_rate) for track in tracks]
            pd.DataFrame(rows).to_csv(folder / f"{split}.csv", index=False)


def _splits(music: Music, source: Path) -> dict[str, list[Path]]:
    train, test = (_tracks(source / name) for name in ("train", "test"))
    for name in music.validation_tracks:
        if source / "train" / name not in train:
            raise InputError(source / "train" / name, "no such track", "a validation track")
    valid = [track for track in train if track.name in music.validation_tracks]
    rest = [track for track in train if track not in valid]
    if not rest:
        raise InputError(source / "train", "only validation tracks", "tracks to train on")
    return {"train": rest, "valid": valid, "test": test}


def _tracks(folder: Path) -> list[Path]:
    tracks = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not tracks:
        raise InputError(folder, "no tracks", "a folder per track")
    return tracks


def _row(track: Path, sample_rate: int) -> dict:
    mixture = track / "mixture.wav"
    info = inspect(mixture)
    expected = {"sample_rate": sample_rate, "channels": 2, "samples": info.samples}
    row = {"mix_path": mixture}
    for name in ("mixture", *TARGETS):
        expect(track / f"{name}.wav", **expected)
    row |= {f"{name}_path": track / f"{name}.wav" for name in TARGETS}
    return row | {"duration": info.seconds}


if __name__ == "__main__":
    run(main)
