"""csv_speech: checks the mixtures and lists them, one CSV per split.

The checks are those of `stages.checks`. Speech is mixed by programs, so sources that do not add up
to their mixture are of another mixture or another level, and training and scores would be for
nothing: an error. So is a silent source, to which SI-SNR is not defined. Files of 16 bits differ by
their rounding, -78 to -82 dB in the embedded data; the limit, -40 dB, leaves room for quiet ones
and is far below any gain, delay or noise that matters.

Except the study's eight mixtures: these are as they were. Each is its sources and noise, 5 to 12 dB
below the mixture, and all splits hold all eight.
"""

import math
from pathlib import Path

import pandas as pd

from metrics.errors import InputError
from metrics.names import check_names
from stages.checks import Mixture, Rules, check, summary
from stages.layout import MIXTURES, SPEECH_LISTS
from stages.outputs import write_together
from stages.params import Speech, SVoiceDebug, load
from stages.run import run
from stages.wsj0mix import SPLITS, folders, split_folder

LARGEST_DIFFERENCE = -40.0  # dB


def main() -> None:
    write_lists(load().speech, MIXTURES, SPEECH_LISTS)


def write_lists(speech: Speech, source: Path, target: Path) -> None:
    """Checks every file and writes, per split, one row per mixture: mix_path, s1_path, …, length
    (samples), sample_rate (Hz). Prints a summary.

    Raises:
        InputError: a split without mixtures, a bad name, or a bad file (`stages.checks`).
    """
    mixtures = [mixture for split in SPLITS for mixture in _mixtures(speech, source, split)]
    studied = isinstance(speech, SVoiceDebug)
    rules = Rules(
        speech.sample_rate,
        channels=1,
        largest_difference=math.inf if studied else LARGEST_DIFFERENCE,
        mixed_by_program=True,
        same_splits=studied,
    )
    checked = check(mixtures, rules, "csv_speech", "mixture")
    frame = pd.DataFrame(
        {
            "mix_path": mixture.path,
            **{f"s{number}_path": path for number, path in enumerate(mixture.sources, 1)},
            "length": one.samples,
            "sample_rate": speech.sample_rate,
        }
        for mixture, one in zip(mixtures, checked, strict=True)
    )
    lists = {}
    for split in SPLITS:
        rows = frame[[mixture.split == split for mixture in mixtures]]
        lists[target / f"{split}.csv"] = rows.to_csv(index=False)
    write_together(lists)
    print(summary(mixtures, checked, rules, "mixture"))
    if studied:
        print("As the study had them: all splits hold the same mixtures, which are noisy.")


def _mixtures(speech: Speech, source: Path, split: str) -> list[Mixture]:
    root = split_folder(source, speech.sample_rate, speech.mode, split)
    paths = sorted((root / "mix").glob("*.wav"))
    if not paths:
        raise InputError(root / "mix", "no WAV files", "mixtures")
    check_names(paths)
    sources = [root / name for name in folders(speech.speakers)[1:]]
    return [Mixture(split, path, tuple(s / path.name for s in sources)) for path in paths]


if __name__ == "__main__":
    run(main)
