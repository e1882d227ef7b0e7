"""csv_speech: checks the mixtures and lists them, one CSV per split."""

from pathlib import Path

import pandas as pd

from stages.audio import expect, inspect
from stages.errors import InputError
from stages.mix_speech import MIXTURES
from stages.outputs import directory
from stages.params import Speech, load
from stages.run import run
from stages.wsj0mix import SPLITS, split_folder

LISTS = Path("data/csv/speech")


def main() -> None:
    write_lists(load().speech, MIXTURES, LISTS)


def write_lists(speech: Speech, source: Path, target: Path) -> None:
    """One row per mixture: mix_path,s1_path,…,length (samples),sample_rate (Hz).

    Raises:
        InputError: a split without mixtures, or a file that is missing, cut short, or differs
            from its mixture in length, sample rate or channels.
    """
    with directory(target) as folder:
        for split in SPLITS:
            root = split_folder(source, speech.sample_rate, speech.mode, split)
            mixtures = sorted((root / "mix").glob("*.wav"))
            if not mixtures:
                raise InputError(root / "mix", "no WAV files", "mixtures")
            rows = [_row(path, root, speech) for path in mixtures]
            pd.DataFrame(rows).to_csv(folder / f"{split}.csv", index=False)


def _row(mixture: Path, root: Path, speech: Speech) -> dict:
    samples = inspect(mixture).samples
    row = {"mix_path": mixture}
    row |= {f"s{n}_path": root / f"s{n}" / mixture.name for n in range(1, speech.speakers + 1)}
    for path in row.values():
        expect(path, sample_rate=speech.sample_rate, channels=1, samples=samples)
    return row | {"length": samples, "sample_rate": speech.sample_rate}


if __name__ == "__main__":
    run(main)
