"""csv_music: checks the songs and lists them in Spleeter's CSV format, one file per split.

The checks are those of `stages.datasets.checks`. A silent stem, and a mixture that is not nearly
the sum of its stems, are warnings: a song may have no vocals; a mixture may have been mastered
after its stems were saved, as a few of MUSDB18-HQ were; and lossy coding adds to the difference, by
-19 to -23 dB in the embedded excerpt, which was AAC. A difference of more than -10 dB has none of
these causes, but a missing or foreign stem. If a stem of a test song is silent throughout, none of
its stems can be scored; the warning says so.
"""

from __future__ import annotations

from pathlib import Path

from contract.layout import MUSIC, MUSIC_LISTS
from contract.params import Musdb18Excerpts, Music, load
from contract.sources import CHANNELS, music_list_columns
from stages.datasets.checks import Mixture, Rules, check_all, summary
from stages.datasets.lists import write_lists
from stages.datasets.musdb_folder import MIXTURE_FILE, STEM_FILES
from stages.datasets.song_splits import split_songs
from stages.run import run

LARGEST_DIFFERENCE = -10.0  # dB, as in `Rules`
UNSCORED = (
    "the song will have no scores, because BSS Eval (museval) scores no stem in a frame in which "
    "one of the stems is silent"
)


def main() -> None:
    """Lists the songs of data/music."""
    list_songs(load().music, MUSIC, MUSIC_LISTS)


def list_songs(music: Music, source: Path, target: Path) -> None:
    """Checks every file, writes a list per split, and prints a summary.

    A list has one row per song, with the columns `contract.sources.music_list_columns`.

    Args:
        music: the configuration.
        source: the folder that holds train/ and test/.
        target: the folder of the lists.

    Raises:
        InputError: a split has no songs, a song's name cannot become the name of a file of scores,
            or a file is bad (`stages.datasets.checks`).
    """
    # The excerpts are not of all songs.
    allow_missing = isinstance(music, Musdb18Excerpts)
    splits = split_songs(source, music.validation_tracks, allow_missing)
    songs = [
        Mixture(split, folder / MIXTURE_FILE, tuple(folder / name for name in STEM_FILES))
        for split, folders in splits.items()
        for folder in folders
    ]
    rules = Rules(
        music.sample_rate, CHANNELS, LARGEST_DIFFERENCE, mixed_by_program=False, unscored=UNSCORED
    )
    results = check_all(songs, rules, "csv_music", "song")
    durations = [(result.samples / music.sample_rate,) for result in results]
    write_lists(songs, music_list_columns(), durations, target)
    print(summary(songs, results, rules, "song"))


if __name__ == "__main__":
    run(main)
