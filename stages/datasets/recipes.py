"""Recipes drawn at random, as WSJ0-mix's were.

A mixture has different people, utterances are used evenly, and levels are uniform within ±2.5 dB.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path, PurePosixPath

from contract.errors import InputError
from contract.params import Mixtures
from metrics.core.progress import progress
from metrics.workers import on_all_cores
from stages.datasets.corpus import read_utterance
from stages.datasets.wsj0mix import LEVELS, Recipe, active_level, list_name

LARGEST_SNR = 2.5  # dB, as in WSJ0-mix: one source is raised, another lowered by as much
ATTEMPTS_PER_MIXTURE = 100  # how often to try to draw a mixture that is not drawn yet

Pool = dict[str, list[PurePosixPath]]  # the utterances of each voice


def draw_recipes(
    pools: Mapping[str, Pool],
    people: Mapping[str, str],
    mixtures: Mixtures,
    speakers: int,
    generator: random.Random,
) -> dict[str, list[Recipe]]:
    """Draws the recipes of every split.

    All people speak equally often. Of each voice, every utterance is used once before any is used
    twice.

    Args:
        pools: the utterances that each split may use.
        people: who speaks with each voice.
        mixtures: the number of mixtures in each split.
        speakers: the number of speakers in a mixture.
        generator: in the same state, it draws the same recipes.

    Raises:
        InputError: a split has too few people or utterances.
    """
    return {
        split: _draw(pool, people, getattr(mixtures, split), speakers, generator)
        for split, pool in pools.items()
    }


def _draw(
    pool: Pool, people: Mapping[str, str], count: int, speakers: int, generator: random.Random
) -> list[Recipe]:
    """Draws the recipes of one split."""
    voices: dict[str, list[str]] = {}  # of each person
    for voice in pool:
        voices.setdefault(people[voice], []).append(voice)
    if len(voices) < speakers:
        raise InputError.mismatch(
            "speech.speakers", speakers, f"at most {len(voices)}, the number of people in a split"
        )
    names = sorted(voices)
    unused: Pool = {voice: [] for voice in pool}
    recipes: dict[tuple[PurePosixPath, ...], Recipe] = {}
    for _ in range(ATTEMPTS_PER_MIXTURE * count):
        if len(recipes) == count:
            return list(recipes.values())
        sources = []
        for person in generator.sample(names, speakers):
            voice = generator.choice(voices[person])
            if not unused[voice]:
                unused[voice] = generator.sample(pool[voice], len(pool[voice]))
            sources.append(unused[voice].pop())
        recipe = Recipe(tuple(sources), _draw_snrs(speakers, generator))
        recipes.setdefault(tuple(sorted(sources)), recipe)
    problem = f"there are too few utterances for {count} different mixtures in a split"
    raise InputError("speech.mixtures", problem, "set a lower number")


def _draw_snrs(speakers: int, generator: random.Random) -> tuple[str, ...]:
    """Draws levels in dB in opposite pairs; an odd source out is at 0."""
    levels = []
    for _ in range(speakers // 2):
        snr = generator.uniform(0, LARGEST_SNR)
        levels += [f"{snr:.5g}", f"{-snr:.5g}"]
    return (*levels, *["0"] * (speakers % 2))


def utterances_of(recipes: Mapping[str, list[Recipe]]) -> list[PurePosixPath]:
    """Returns every utterance that the recipes of all splits name, once, sorted.

    Args:
        recipes: the recipes of each split.
    """
    return sorted(
        {
            path
            for recipes_of_split in recipes.values()
            for recipe in recipes_of_split
            for path in recipe.sources
        }
    )


def write_recipes(recipes: Mapping[str, list[Recipe]], speakers: int, folder: Path) -> None:
    """Writes the recipe list of every split into `folder`.

    Args:
        recipes: the recipes of each split.
        speakers: the number of speakers in a mixture.
        folder: where the lists are written.

    Raises:
        InputError: an utterance has white space in its name.
    """
    for name in utterances_of(recipes):
        if len(str(name).split()) > 1:
            problem = "has white space in its name, at which recipe lists are split"
            raise InputError(repr(str(name)), problem, "rename it")
    for split, recipes_of_split in recipes.items():
        text = "".join(f"{recipe}\n" for recipe in recipes_of_split)
        (folder / list_name(speakers, split)).write_text(text, encoding="utf-8")


def write_levels(root: Path, utterances: Iterable[PurePosixPath], folder: Path) -> None:
    """Measures the active speech level of utterances, on all cores, and writes the levels list.

    Args:
        root: the corpus's folder.
        utterances: their paths relative to `root`.
        folder: where the list is written.

    Raises:
        InputError: an utterance cannot be read, or is silent.
    """
    names = list(utterances)
    paths = (root / name for name in names)
    with (
        (folder / LEVELS).open("w") as table,
        closing(on_all_cores(_level, paths, batch=8)) as levels,
    ):
        counted_names = progress(names, "speech levels", "utterance")
        for name, level in zip(counted_names, levels, strict=False):
            table.write(f"{name.stem} {level:.16e}\n")


def _level(path: Path) -> float:
    level = active_level(*read_utterance(path))
    if level == 0:
        raise InputError(path, "is silent", "replace it, or remove it from the corpus")
    return level
