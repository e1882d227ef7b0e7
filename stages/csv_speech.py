"""csv_speech: checks the mixtures and lists them, one CSV file per split.

The checks are those of `stages.datasets.checks`. Programs mix speech, so sources that do not add up
to their mixture belong to another mixture or have another level: training on them and scoring them
would be for nothing, and it is an error. So is a silent source, for which SI-SNR is not defined.
Files of 16 bits differ by their rounding, by -78 to -82 dB in the embedded data. The limit of
-40 dB leaves room for quiet files, and is far below any gain, delay or noise that matters.

The study's eight mixtures are an exception, because they stay as the study had them: each has noise
5 to 12 dB below the mixture beside its sources, and all splits hold all eight.
"""

from __future__ import annotations

import math
from pathlib import Path

from contract.layout import MIXTURES, SPEECH_LISTS
from contract.params import Speech, SVoiceDebug, load
from contract.sources import speech_list_columns
from stages.datasets.checks import Rules, check_all, summary
from stages.datasets.lists import write_lists
from stages.datasets.speech_splits import find_mixtures
from stages.run import run

LARGEST_DIFFERENCE = -40.0  # dB, as in `Rules`


def main() -> None:
    """Lists the mixtures of data/speech."""
    list_mixtures(load().speech, MIXTURES, SPEECH_LISTS)


def list_mixtures(speech: Speech, source: Path, target: Path) -> None:
    """Checks every file, writes a list per split, and prints a summary.

    A list has one row per mixture, with the columns `contract.sources.speech_list_columns`.

    Args:
        speech: the configuration.
        source: the folder that wav8k/ or wav16k/ is in.
        target: the folder of the lists.

    Raises:
        InputError: a split has no mixtures, a mixture's name cannot be listed, or a file is bad
            (`stages.datasets.checks`).
    """
    mixtures = find_mixtures(speech, source)
    is_study = isinstance(speech, SVoiceDebug)
    rules = Rules(
        speech.sample_rate,
        channels=1,
        largest_difference=math.inf if is_study else LARGEST_DIFFERENCE,
        mixed_by_program=True,
        same_splits=is_study,
    )
    results = check_all(mixtures, rules, "csv_speech", "mixture")
    lengths = [(result.samples, speech.sample_rate) for result in results]
    write_lists(mixtures, speech_list_columns(speech.speakers), lengths, target)
    print(summary(mixtures, results, rules, "mixture"))
    if is_study:
        print("As in the study, all splits hold the same mixtures, and these are noisy.")


if __name__ == "__main__":
    run(main)
