"""mix_speech: makes the mixtures by their recipes, in WSJ0-mix's layout.

data/speech/mixtures/wav8k/min/{tr,cv,tt}/{mix,s1,s2,…}/<name>.wav
"""

from pathlib import Path

import soundfile
from scipy.signal import resample_poly

from metrics.progress import progress
from stages.audio import inspect, write_pcm16
from stages.errors import InputError
from stages.fetch_speech import CORPUS, RECIPES, SPEECH
from stages.outputs import directory
from stages.params import Speech, load
from stages.run import run
from stages.wsj0mix import SPLITS, list_name, mix, read_levels, read_recipes, split_folder

MIXTURES = SPEECH / "mixtures"


def main() -> None:
    mix_all(load().speech, CORPUS, RECIPES, MIXTURES)


def mix_all(speech: Speech, corpus: Path, recipes: Path, target: Path) -> None:
    """Mixes every recipe of every split.

    Raises:
        InputError: a bad list, an utterance without a level, or a corpus file that is missing,
            cut short, silent or not mono.
    """
    levels = read_levels(recipes / "activlev.txt")
    with directory(target) as root:
        for split in SPLITS:
            path = recipes / list_name(speech.speakers, split)
            folder = split_folder(root, speech.sample_rate, speech.mode, split)
            for recipe in progress(read_recipes(path, speech.speakers), f"mix {split}", "mixture"):
                sources = [_read(corpus / name, speech.sample_rate) for name in recipe.sources]
                level = [_level(levels, name.stem, recipes) for name in recipe.sources]
                mixture, scaled = mix(sources, level, [float(s) for s in recipe.snrs], speech.mode)
                write_pcm16(folder / "mix" / recipe.name, mixture, speech.sample_rate)
                for number, source in enumerate(scaled, 1):
                    write_pcm16(folder / f"s{number}" / recipe.name, source, speech.sample_rate)


def _read(path: Path, sample_rate: int):
    """An utterance (samples,) at `sample_rate`."""
    info = inspect(path)
    if info.channels != 1:
        raise InputError(path, f"{info.channels} channels", "mono")
    samples, _ = soundfile.read(path)
    if info.sample_rate != sample_rate:
        samples = resample_poly(samples, sample_rate, info.sample_rate)
    return samples


def _level(levels: dict[str, float], name: str, recipes: Path) -> float:
    if name not in levels:
        raise InputError(recipes / "activlev.txt", f"no level of {name}", "one per utterance")
    return levels[name]


if __name__ == "__main__":
    run(main)
