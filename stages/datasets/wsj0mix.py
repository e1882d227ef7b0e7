"""WSJ0-mix: its recipe lists, its folder layout, and its mixing.

A recipe list has one mixture per line, `path snr path snr …`: the corpus file of each source and
the level in dB at which it is mixed. A levels list has one utterance per line, `name level`: the
active speech level as a mean square. Both are as the original Matlab scripts of Hershey et al.
("Deep clustering", ICASSP 2016) read and write them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter

from contract.errors import InputError
from contract.names import name_error
from contract.sources import MIXTURE, speaker

LEVELS = "activlev.txt"  # the name of the levels list, beside the recipe lists
SPLITS = {"train": "tr", "valid": "cv", "test": "tt"}  # the names of our splits in WSJ0-mix
PEAK = 0.9  # the largest peak of a mixture that would be clipped without scaling


@dataclass(frozen=True)
class Recipe:
    """How one mixture is made."""

    sources: tuple[PurePosixPath, ...]  # the files in the corpus
    snrs: tuple[str, ...]  # the level of each source in dB, as the list writes it

    @property
    def name(self) -> str:
        """The mixture's file name: its utterances and their levels, joined by underscores.

        The levels have as many significant digits as in the original file names: five for two and
        three speakers (Matlab's `num2str`), eight for four and five (pywsj0-mix, which published
        those lists). Nobody published lists for more speakers; theirs have eight, too.
        """
        digits = 5 if len(self.sources) <= 3 else 8
        snrs = (f"{float(snr):.{digits}g}" for snr in self.snrs)
        parts = (f"{path.stem}_{snr}" for path, snr in zip(self.sources, snrs, strict=True))
        return "_".join(parts) + ".wav"

    def __str__(self) -> str:
        """The recipe as a line of a list."""
        return " ".join(f"{path} {snr}" for path, snr in zip(self.sources, self.snrs, strict=True))


def list_name(speakers: int, split: str) -> str:
    """Returns the file name of a recipe list, such as mix_2_spk_tr.txt.

    Args:
        speakers: the number of speakers in a mixture.
        split: `train`, `valid` or `test`.
    """
    return f"mix_{speakers}_spk_{SPLITS[split]}.txt"


def split_folder(root: Path, sample_rate: int, mode: str, split: str) -> Path:
    """Returns the folder of a split's mixtures and sources, such as wav8k/min/tr.

    Args:
        root: the folder that wav8k/ or wav16k/ is in.
        sample_rate: in Hz.
        mode: `min` or `max`, as for `mix`.
        split: `train`, `valid` or `test`.
    """
    return root / f"wav{sample_rate // 1000}k" / mode / SPLITS[split]


def part_names(speakers: int) -> tuple[str, ...]:
    """Returns the names of the folders in a split: `mix` and those of the sources, `s1`, `s2`, …

    Args:
        speakers: the number of speakers in a mixture.
    """
    return (MIXTURE, *(speaker(number) for number in range(1, speakers + 1)))


def read_recipes(path: Path, speakers: int) -> list[Recipe]:
    """Reads a recipe list.

    Args:
        path: the list.
        speakers: the number of speakers in a mixture.

    Raises:
        InputError: the file is missing or empty, a line has another form, two lines make the same
            mixture, or a mixture's file name would be too long.
    """
    recipes = {}
    for number, line in enumerate(_read_lines(path), 1):
        where = f"{path}:{number}"
        fields = line.split()
        names, snrs = fields[::2], fields[1::2]
        if len(fields) != 2 * speakers or not all(_is_number(snr) for snr in snrs):
            remedy = f"a line holds `path snr` for each of {speakers} speakers"
            raise InputError(where, f"{line!r} is not a recipe", remedy)
        recipe = Recipe(tuple(PurePosixPath(name) for name in names), tuple(snrs))
        if any(name.is_absolute() or ".." in name.parts for name in recipe.sources):
            remedy = "give the paths relative to the corpus"
            raise InputError(where, f"{line!r} has paths outside the corpus", remedy)
        if recipe.name in recipes:
            raise InputError(where, f"makes {recipe.name} a second time", "remove one of the lines")
        if error := name_error(f"{where}, the mixture {recipe.name}", recipe.name):
            raise error
        recipes[recipe.name] = recipe
    return list(recipes.values())


def read_levels(path: Path) -> dict[str, float]:
    """Reads a levels list.

    Args:
        path: the list.

    Returns:
        The active speech level of every utterance, as a mean square, by the utterance's name.

    Raises:
        InputError: the file is missing or empty, a line has another form, a level is not above 0,
            or an utterance has two levels.
    """
    levels = {}
    for number, line in enumerate(_read_lines(path), 1):
        where = f"{path}:{number}"
        fields = line.split()
        if len(fields) != 2 or not _is_number(fields[1]) or float(fields[1]) <= 0:
            remedy = "a line holds `name level` with a level above 0"
            raise InputError(where, f"{line!r} is not a level", remedy)
        name, level = fields[0], float(fields[1])
        if levels.setdefault(name, level) != level:
            remedy = "every utterance needs a name of its own"
            raise InputError(where, f"gives {name!r} a second level", remedy)
    return levels


def mix(
    sources: Sequence[np.ndarray], levels: Sequence[float], snrs: Sequence[float], mode: str
) -> tuple[np.ndarray, np.ndarray]:
    """Mixes utterances as WSJ0-mix does.

    Args:
        sources: one array per source, (samples,), all at the same sample rate.
        levels: the active speech level of each source, as a mean square.
        snrs: the level of each source in the mixture, in dB.
        mode: `min` cuts to the shortest source, `max` pads with zeros to the longest.

    Returns:
        The mixture, (samples,), and its sources, (sources, samples). Where a peak would exceed 1,
        one gain scales all of them so that the largest is 0.9; elsewhere the gain is 0.9.
    """
    lengths = [len(source) for source in sources]
    length = min(lengths) if mode == "min" else max(lengths)
    scaled = np.zeros((len(sources), length))
    for row, source, level, snr in zip(scaled, sources, levels, snrs, strict=True):
        row[: len(source)] = source[:length] / math.sqrt(level) * 10 ** (snr / 20)
    mixture = scaled.sum(0)
    gain = PEAK / max(1.0, np.abs(mixture).max(), np.abs(scaled).max())
    return mixture * gain, scaled * gain


def active_level(samples: np.ndarray, sample_rate: int) -> float:
    """Measures the active speech level by method B of ITU-T P.56 (2011).

    Samples are active while the envelope is above a threshold, or was within the last 200 ms. The
    envelope is the absolute signal, smoothed by two exponential averages of 30 ms in a row. The
    threshold is the one that lies 15.9 dB below the level of the samples that it makes active,
    interpolated between powers of two.

    Args:
        samples: (samples,).
        sample_rate: in Hz.

    Returns:
        The level as a mean square; 0 if the signal is silent throughout.
    """
    energy = float(np.sum(np.square(samples, dtype=np.float64)))
    if energy == 0:
        return 0.0
    decay = math.exp(-1 / (0.03 * sample_rate))
    average = ([1 - decay], [1, -decay])
    envelope = lfilter(*average, lfilter(*average, np.abs(samples)))
    hangover = math.ceil(0.2 * sample_rate) | 1  # odd, so that the window can end at a sample
    held = maximum_filter1d(envelope, hangover, origin=hangover // 2, mode="constant")
    margin = 15.9
    # Of the last threshold, in dB: the level of the active samples, and its distance to it.
    previous: tuple[float, float] | None = None
    for threshold in 2.0 ** -np.arange(15, 0, -1):
        active = np.count_nonzero(held >= threshold)
        if active == 0:
            break
        level = 10 * math.log10(energy / active)
        distance = level - 20 * math.log10(threshold)
        if distance <= margin:
            if previous is not None and previous[1] > distance:
                share = (previous[1] - margin) / (previous[1] - distance)
                level = previous[0] + share * (level - previous[0])
            return 10 ** (level / 10)
        previous = (level, distance)
    # The signal is below the lowest threshold, or a click: all of it counts as active.
    return energy / len(samples)


def _read_lines(path: Path) -> list[str]:
    """The lines of a list that are not empty, without white space at their ends."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        remedy = "run `dvc repro -f fetch_speech` to make it"
        raise InputError(path, "there is no such list", remedy) from None
    except UnicodeDecodeError:
        raise InputError(path, "is not UTF-8 text", "save it as UTF-8") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(path, "has no lines", "a list has one line for each item")
    return lines


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
