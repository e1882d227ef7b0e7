"""The sources of a mixture: their names, and the columns of the lists that name their files.

What changes here changes outputs, so the stages depend on this module.
"""

from __future__ import annotations

STEMS = ("vocals", "drums", "bass", "other")  # museval calls them targets
CHANNELS = 2  # channels of music: those of MUSDB18, and of the output of Spleeter's U-Net
MIXTURE = "mix"  # the mixture in the columns of the lists, and the folder of those of speech


def speaker(number: int) -> str:
    """Returns a speaker's name in columns and folders.

    Args:
        number: the number of the speaker in the mixture, from 1.
    """
    return f"s{number}"


# The trainers' lists: a table for each split, with a row per song or mixture. The columns of paths
# come first, the mixture's and then those of its stems or speakers.
DURATION = "duration"  # the length of a song in seconds
LENGTH = "length"  # the length of a mixture of speech in samples
SAMPLE_RATE = "sample_rate"  # the sample rate of a mixture of speech in Hz


def path_column(name: str) -> str:
    """Returns the column of a list that holds the paths of a mixture, a stem or a speaker.

    Args:
        name: `MIXTURE`, a stem, or a speaker as `speaker` returns it.
    """
    return f"{name}_path"


MIXTURE_PATH = path_column(MIXTURE)


def music_list_columns() -> list[str]:
    """Returns the columns of a list of songs, in their order."""
    return [MIXTURE_PATH, *map(path_column, STEMS), DURATION]


def speech_list_columns(speakers: int) -> list[str]:
    """Returns the columns of a list of mixtures of speech, in their order.

    Args:
        speakers: the number of speakers in a mixture.
    """
    names = [speaker(number) for number in range(1, speakers + 1)]
    return [MIXTURE_PATH, *map(path_column, names), LENGTH, SAMPLE_RATE]
