"""LibriSpeech (Panayotov et al. 2015), openly licensed, with recipes drawn from the seed."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path, PurePosixPath

from contract import files
from contract.errors import InputError
from contract.layout import configured_path, scratch_root
from contract.locks import lock
from contract.params import LibriSpeechMix
from stages.datasets.corpus import find_utterances, write_index
from stages.datasets.recipes import Pool, draw_recipes, utterances_of, write_levels, write_recipes
from stages.datasets.wsj0mix import SPLITS
from stages.fetching.checksums import read_checksums
from stages.fetching.download import discard, download, download_text
from stages.fetching.unpack import unpack


def fetch(speech: LibriSpeechMix, corpus: Path, recipes: Path) -> None:
    """Draws recipes, measures the levels of their utterances, and writes their index.

    The corpus itself is downloaded into the scratch folder, unless the configuration names a copy.

    Args:
        speech: the configuration.
        corpus: the new folder of the index.
        recipes: the new folder of the recipe and level lists.

    Raises:
        InputError: a subset is missing or cannot be downloaded, two subsets share a speaker, there
            are too few utterances, or one cannot be read.
    """
    if speech.corpus is None:
        for subset in dict(speech.subsets).values():
            _download_subset(speech.url, subset)
    root = corpus_folder(speech)
    pools = {split: _find_speakers(root, getattr(speech.subsets, split)) for split in SPLITS}
    _check_disjoint(pools)
    people = {speaker: speaker for pool in pools.values() for speaker in pool}
    generator = random.Random(speech.seed)
    drawn = draw_recipes(pools, people, speech.mixtures, speech.speakers, generator)
    utterances = utterances_of(drawn)
    with files.new_folder(recipes) as lists, files.new_folder(corpus) as index:
        write_index(find_utterances(root, utterances), index)
        write_recipes(drawn, speech.speakers, lists)
        write_levels(root, utterances, lists)


def corpus_folder(speech: LibriSpeechMix) -> Path:
    """Returns the folder that holds the subsets.

    Args:
        speech: the configuration.

    Raises:
        InputError: a subset is missing.
    """
    root = _download_folder() if speech.corpus is None else configured_path(speech.corpus)
    if (root / "LibriSpeech").is_dir():
        root /= "LibriSpeech"
    for subset in dict(speech.subsets).values():
        if (root / subset).is_dir():
            continue
        if speech.corpus is None:
            remedy = "run `dvc repro -f fetch_speech` to download it"
            raise InputError(root / subset, "there is no such folder", remedy)
        remedy = "set it to the folder that holds LibriSpeech's subsets"
        raise InputError("speech.corpus", f"there is no {subset} in {root}", remedy)
    return root


def _download_folder() -> Path:
    return scratch_root() / "corpora" / "librispeech"


def _download_subset(url: str, subset: str) -> None:
    """Downloads and unpacks a subset, unless it is complete already."""
    root = _download_folder()
    # Written last: the archive's checksum and the number of utterances that it held.
    complete = root / f"{subset}.whole"
    with lock(root / f"{subset}.lock", f"{subset}'s download"):
        if complete.is_file() and complete.read_text().split()[-1] == str(_count(root, subset)):
            return
        name = f"{subset}.tar.gz"
        list_url = f"{url}/md5sum.txt"
        md5 = read_checksums(download_text(list_url)).get(name)
        if md5 is None:
            remedy = "set speech.url to LibriSpeech's address or a mirror"
            raise InputError(list_url, f"has no checksum of {name}", remedy)
        archive = download(f"{url}/{name}", f"md5:{md5}")
        unpack(archive, root)
        files.write(complete, f"{md5} {_count(root, subset)}\n")
        discard(archive)


def _count(root: Path, subset: str) -> int:
    """The number of utterances of a subset that are unpacked."""
    return len(list((root / "LibriSpeech" / subset).glob("*/*/*.flac")))


def _find_speakers(root: Path, subset: str) -> Pool:
    """The utterances of each speaker: <subset>/<speaker>/<chapter>/<utterance>.flac."""
    pool: Pool = {}
    for path in sorted((root / subset).glob("*/*/*.flac")):
        name = PurePosixPath(path.relative_to(root))
        pool.setdefault(name.parts[1], []).append(name)
    return pool


def _check_disjoint(pools: dict[str, Pool]) -> None:
    """Raises InputError if a speaker is in two splits."""
    for split, other in combinations(SPLITS, 2):
        shared = sorted(pools[split].keys() & pools[other].keys())
        if shared:
            problem = f"speaker {shared[0]} is in both {split} and {other}"
            raise InputError("speech.subsets", problem, "choose subsets of different speakers")
