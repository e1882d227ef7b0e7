"""WSJ0-mix: its recipe lists, its folder layout, and its mixing.

A recipe list has one mixture per line, `path snr path snr …`: the corpus file of each source and
the level in dB that it is mixed at. A levels list has one utterance per line, `name level`: the
active speech level as mean square. Both are as the original Matlab scripts of Hershey et al.
("Deep clustering", ICASSP 2016) read and write them.
"""

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter

from metrics.errors import InputError
from metrics.names import name_error

LEVELS = "activlev.txt"  # the name of the levels list, beside the recipe lists
SPLITS = {"train": "tr", "valid": "cv", "test": "tt"}
PEAK = 0.9


@dataclass(frozen=True)
class Recipe:
    """One mixture: each source's file in the corpus and its level in dB, as written."""

    sources: tuple[PurePosixPath, ...]
    snrs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The mixture's file name: utterances and levels joined.

        The levels have as many significant digits as in the original file names: five for two and
        three speakers (Matlab's `num2str`), eight for four and five (pywsj0-mix, which published
        those lists). For still more speakers, whose lists nobody published, eight.
        """
        digits = 5 if len(self.sources) <= 3 else 8
        snrs = (f"{float(snr):.{digits}g}" for snr in self.snrs)
        parts = (f"{path.stem}_{snr}" for path, snr in zip(self.sources, snrs, strict=True))
        return "_".join(parts) + ".wav"

    def __str__(self) -> str:
        return " ".join(f"{path} {snr}" for path, snr in zip(self.sources, self.snrs, strict=True))


def list_name(speakers: int, split: str) -> str:
    """The file name of a recipe list, e.g. mix_2_spk_tr.txt."""
    return f"mix_{speakers}_spk_{SPLITS[split]}.txt"


def split_folder(root: Path, sample_rate: int, mode: str, split: str) -> Path:
    """Where the mixtures of a split lie, e.g. wav8k/min/tr; in it mix/, s1/, s2/, …"""
    return root / f"wav{sample_rate // 1000}k" / mode / SPLITS[split]


def folders(speakers: int) -> tuple[str, ...]:
    """The folders of a split: the mixtures', and that of each source."""
    return ("mix", *(f"s{n}" for n in range(1, speakers + 1)))


def read_recipes(path: Path, speakers: int) -> list[Recipe]:
    """Reads a recipe list.

    Raises:
        InputError: the file is missing or empty, a line is not as described above, two make the
            same file, or one a file whose name is too long.
    """
    recipes = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if len(fields) != 2 * speakers or not all(_is_number(snr) for snr in fields[1::2]):
            raise InputError(f"{path}:{number}", repr(line), f"{speakers} × `path snr`")
        recipe = Recipe(tuple(PurePosixPath(name) for name in fields[::2]), tuple(fields[1::2]))
        if any(name.is_absolute() or ".." in name.parts for name in recipe.sources):
            raise InputError(f"{path}:{number}", repr(line), "paths in the corpus")
        if recipe.name in recipes:
            raise InputError(f"{path}:{number}", f"{recipe.name} again", "each mixture once")
        if error := name_error(f"{path}:{number}, the mixture {recipe.name}", recipe.name):
            raise error
        recipes[recipe.name] = recipe
    return list(recipes.values())


def read_levels(path: Path) -> dict[str, float]:
    """Reads a levels list: utterance name → mean square of its active speech.

    Raises:
        InputError: the file is missing or empty, a line is not `name level` with level > 0, or an
            utterance has two levels.
    """
    levels = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if len(fields) != 2 or not _is_number(fields[1]) or float(fields[1]) <= 0:
            raise InputError(f"{path}:{number}", repr(line), "`name level` with a level above 0")
        name, level = fields[0], float(fields[1])
        if levels.setdefault(name, level) != level:
            found = f"{name} again with another level"
            raise InputError(f"{path}:{number}", found, "a name of its own for every utterance")
    return levels


def mix(sources: list[np.ndarray], levels: list[float], snrs: list[float], mode: str):
    """Mixes utterances as WSJ0-mix does.

    Args:
        sources: one array (samples,) per source, at one sample rate.
        levels: the active speech level of each, as mean square.
        snrs: the level of each in the mixture, in dB.
        mode: `min` cuts to the shortest source, `max` pads with zeros to the longest.

    Returns:
        The mixture (samples,) and its sources (sources, samples), scaled by one gain so that no
        peak exceeds 0.9.
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
    """The active speech level of (samples,), as mean square: ITU-T P.56 (2011), method B.

    Samples are active while the envelope (two exponential averages of 30 ms in a row) is, or was
    within the last 200 ms, above a threshold; the threshold is the one 15.9 dB below the level of
    what it makes active, interpolated between powers of two.

    Returns:
        The level, 0 where the signal is silent throughout.
    """
    energy = float(np.sum(np.square(samples, dtype=np.float64)))
    if energy == 0:
        return 0.0
    decay = math.exp(-1 / (0.03 * sample_rate))
    average = ([1 - decay], [1, -decay])
    envelope = lfilter(*average, lfilter(*average, np.abs(samples)))
    hangover = math.ceil(0.2 * sample_rate) | 1  # odd, so that the window below can end at a sample
    held = maximum_filter1d(envelope, hangover, origin=hangover // 2, mode="constant")
    margin = 15.9
    above = None  # dB: level of the active samples, and its distance to the threshold
    for threshold in 2.0 ** -np.arange(15, 0, -1):
        active = np.count_nonzero(held >= threshold)
        if active == 0:
            break
        level = 10 * math.log10(energy / active)
        distance = level - 20 * math.log10(threshold)
        if distance <= margin:
            if above is not None and above[1] > distance:
                share = (above[1] - margin) / (above[1] - distance)
                level = above[0] + share * (level - above[0])
            return 10 ** (level / 10)
        above = (level, distance)
    # Quieter than the lowest threshold, or a click: everything counts as active.
    return energy / len(samples)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "no such file", "a list") from None
    except UnicodeDecodeError:
        raise InputError(path, "bytes that are no UTF-8", "a list") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(path, "no lines", "a list")
    return lines


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
