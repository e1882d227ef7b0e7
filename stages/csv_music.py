"""csv_music: checks the songs and lists them in Spleeter's CSV format, one file per split.

The checks are those of `stages.checks`. A mixture that is not nearly the sum of its stems, and a
silent stem, are told but not refused: a mixture may have been mastered after its stems were saved
(which holds for a few songs of MUSDB18-HQ), lossy coding adds to the difference (-19 to -23 dB in
the embedded excerpt, which was AAC), and a song may have no vocals. A difference of more than
-10 dB is neither's, rather a missing or foreign stem. A song to test on of which a stem is silent
throughout has no scores, of its other stems either: that is told as well.
"""

from pathlib import Path

import pandas as pd

from metrics.errors import InputError
from metrics.names import check_names
from stages.checks import Mixture, Rules, check, summary
from stages.layout import MUSIC, MUSIC_LISTS
from stages.musdb_folder import SCORES
from stages.outputs import write_together
from stages.params import Musdb18Excerpts, Music, load
from stages.run import run

TARGETS = ("vocals", "drums", "bass", "other")
LARGEST_DIFFERENCE = -10.0  # dB
UNSCORED = (
    "; the song will have no scores, for BSS Eval (museval) scores no stem in a frame in which one "
    "of the stems is silent"
)


def main() -> None:
    write_lists(load().music, MUSIC, MUSIC_LISTS)


def write_lists(music: Music, source: Path, target: Path) -> None:
    """Checks every file and writes, per split, one row per song: mix_path, vocals_path,
    drums_path, bass_path, other_path, duration (seconds). Prints a summary.

    Raises:
        InputError: a split without songs, a song with a name that its scores cannot have, or a bad
            file (`stages.checks`).
    """
    splits = _splits(music, source)
    songs = [
        Mixture(split, song / "mixture.wav", tuple(song / f"{name}.wav" for name in TARGETS))
        for split, some in splits.items()
        for song in some
    ]
    rules = Rules(
        music.sample_rate, 2, LARGEST_DIFFERENCE, mixed_by_program=False, unscored=UNSCORED
    )
    checked = check(songs, rules, "csv_music", "song")
    frame = pd.DataFrame(
        {
            "mix_path": song.path,
            **{f"{path.stem}_path": path for path in song.sources},
            "duration": one.samples / music.sample_rate,
        }
        for song, one in zip(songs, checked, strict=True)
    )
    lists = {}
    for split in splits:
        rows = frame[[song.split == split for song in songs]]
        lists[target / f"{split}.csv"] = rows.to_csv(index=False)
    write_together(lists)
    print(summary(songs, checked, rules, "song"))


def _splits(music: Music, source: Path) -> dict[str, list[Path]]:
    """The songs of each split, by name. Without `validation_tracks` the last tenth of the train
    folder's, and at least one, validate."""
    train, test = (_songs(source / name) for name in ("train", "test"))
    if music.validation_tracks is None:
        valid = train[-max(1, len(train) // 10) :]
    else:
        valid = [song for song in train if song.name in music.validation_tracks]
        missing = set(music.validation_tracks) - {song.name for song in valid}
        # The excerpts are not of all songs.
        if missing and not (isinstance(music, Musdb18Excerpts) and valid):
            name = next(name for name in music.validation_tracks if name in missing)
            raise InputError(source / "train" / name, "no such track", "a validation track")
    rest = [song for song in train if song not in valid]
    if not rest:
        raise InputError(source / "train", "only validation tracks", "tracks to train on")
    return {"train": rest, "valid": valid, "test": test}


def _songs(folder: Path) -> list[Path]:
    songs = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not songs:
        raise InputError(folder, "no tracks", "a folder per track")
    check_names(songs, SCORES)
    return songs


if __name__ == "__main__":
    run(main)
