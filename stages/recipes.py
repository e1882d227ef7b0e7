"""Recipes that are drawn at random, as WSJ0-mix's were: different people in a mixture, utterances
used evenly, levels uniform within ±2.5 dB."""

import random
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path, PurePosixPath

from metrics.errors import InputError
from metrics.progress import progress
from metrics.workers import on_all_cores
from stages.corpus import read_utterance
from stages.params import Mixtures
from stages.wsj0mix import Recipe, active_level, list_name

LARGEST_SNR = 2.5  # dB, as in WSJ0-mix: one source up, the other down by as much

Pool = dict[str, list[PurePosixPath]]  # voice → its utterances


def draw_recipes(
    pools: dict[str, Pool],
    people: dict[str, str],
    mixtures: Mixtures,
    speakers: int,
    generator: random.Random,
) -> dict[str, list[Recipe]]:
    """Draws each split's recipes. All people speak equally often; of a voice, every utterance is
    used once before any is used twice.

    Args:
        pools: split → what it may use.
        people: voice → who speaks.
        mixtures: how many of each split.
        speakers: of a mixture.
        generator: in the same state it draws the same recipes.

    Raises:
        InputError: too few people or utterances in a split.
    """
    return {
        split: _draw(pool, people, getattr(mixtures, split), speakers, generator)
        for split, pool in pools.items()
    }


def _draw(pool, people, count, speakers, generator) -> list[Recipe]:
    voices: dict[str, list[str]] = {}
    for voice in pool:
        voices.setdefault(people[voice], []).append(voice)
    if len(voices) < speakers:
        raise InputError("speech.speakers", f"{speakers}", f"at most {len(voices)}, as there are")
    persons = sorted(voices)
    unused = {voice: [] for voice in pool}
    drawn: dict[tuple, Recipe] = {}
    for _ in range(100 * count):
        if len(drawn) == count:
            return list(drawn.values())
        sources = []
        for person in generator.sample(persons, speakers):
            voice = generator.choice(voices[person])
            if not unused[voice]:
                unused[voice] = generator.sample(pool[voice], len(pool[voice]))
            sources.append(unused[voice].pop())
        recipe = Recipe(tuple(sources), _snrs(speakers, generator))
        drawn.setdefault(tuple(sorted(sources)), recipe)
    raise InputError("speech.mixtures", f"{count} in a split", "fewer for these utterances")


def _snrs(speakers: int, generator: random.Random) -> tuple[str, ...]:
    """Levels in dB that come in opposite pairs; an odd source out is at 0."""
    levels = []
    for _ in range(speakers // 2):
        snr = generator.uniform(0, LARGEST_SNR)
        levels += [f"{snr:.5g}", f"{-snr:.5g}"]
    return (*levels, *["0"] * (speakers % 2))


def utterances_of(recipes: dict[str, list[Recipe]]) -> list[PurePosixPath]:
    """Every utterance that the recipes name, once, sorted."""
    return sorted({path for some in recipes.values() for each in some for path in each.sources})


def write_recipes(recipes: dict[str, list[Recipe]], speakers: int, folder: Path) -> None:
    """Writes the recipe lists into `folder`.

    Raises:
        InputError: an utterance that cannot be listed, for the white space in its name.
    """
    for name in utterances_of(recipes):
        if len(str(name).split()) > 1:
            expected = "none: recipe lists are split there"
            raise InputError(repr(str(name)), "white space in the name", expected)
    for split, drawn in recipes.items():
        text = "".join(f"{each}\n" for each in drawn)
        (folder / list_name(speakers, split)).write_text(text, encoding="utf-8")


def write_levels(root: Path, utterances: Iterable[PurePosixPath], folder: Path) -> None:
    """Measures the active speech level of every utterance, on all cores, and lists it in
    `folder`/activlev.txt.

    Raises:
        InputError: an utterance that cannot be read, or is silent.
    """
    names = list(utterances)
    paths = (root / name for name in names)
    with (
        (folder / "activlev.txt").open("w") as table,
        closing(on_all_cores(_level, paths, batch=8)) as all_,
    ):
        for name, level in zip(progress(names, "speech levels", "utterance"), all_, strict=False):
            table.write(f"{name.stem} {level:.16e}\n")


def _level(path: Path) -> float:
    level = active_level(*read_utterance(path))
    if level == 0:
        raise InputError(path, "silence", "speech")
    return level
