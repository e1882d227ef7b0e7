"""LibriSpeech (Panayotov et al. 2015), openly licensed, with recipes drawn from the seed."""

import random
from itertools import combinations
from pathlib import Path, PurePosixPath

from metrics.errors import InputError
from stages import outputs
from stages.checksums import read_checksums
from stages.corpus import find, write_index
from stages.download import discard, download, text
from stages.given import given
from stages.lock import lock
from stages.params import LibriSpeechMix
from stages.recipes import Pool, draw_recipes, utterances_of, write_levels, write_recipes
from stages.scratch import scratch_root
from stages.unpack import unpack
from stages.wsj0mix import SPLITS


def fetch(speech: LibriSpeechMix, corpus: Path, recipes: Path) -> None:
    """Draws recipes, measures the levels of the utterances they name, and writes their index. The
    corpus itself is fetched into the scratch folder unless there is one already.

    Raises:
        InputError: a subset that is missing or cannot be had, a speaker in two, too few utterances,
            or one that cannot be read.
    """
    if speech.corpus is None:
        for subset in dict(speech.subsets).values():
            _fetch(speech.url, subset)
    root = corpus_folder(speech)
    pools = {split: _speakers(root, getattr(speech.subsets, split)) for split in SPLITS}
    _check_disjoint(pools)
    people = {speaker: speaker for pool in pools.values() for speaker in pool}
    generator = random.Random(speech.seed)
    drawn = draw_recipes(pools, people, speech.mixtures, speech.speakers, generator)
    named = utterances_of(drawn)
    with outputs.directory(recipes) as lists, outputs.directory(corpus) as index:
        write_index(find(root, named), index)
        write_recipes(drawn, speech.speakers, lists)
        write_levels(root, named, lists)


def corpus_folder(speech: LibriSpeechMix) -> Path:
    """The folder that holds the subsets.

    Raises:
        InputError: there is none.
    """
    root = _scratch() if speech.corpus is None else given(speech.corpus)
    if (root / "LibriSpeech").is_dir():
        root /= "LibriSpeech"
    for subset in dict(speech.subsets).values():
        if not (root / subset).is_dir():
            where = "speech.corpus" if speech.corpus else root
            raise InputError(where, f"no {subset} in {root}", "the folder of LibriSpeech's subsets")
    return root


def _scratch() -> Path:
    return scratch_root() / "corpora" / "librispeech"


def _fetch(url: str, subset: str) -> None:
    """Downloads and unpacks a subset, unless it is here whole."""
    target = _scratch()
    whole = target / f"{subset}.whole"  # written last: the archive's checksum, and files unpacked
    with lock(target / f"{subset}.lock", f"{subset}'s download"):
        files = len(list((target / "LibriSpeech" / subset).glob("*/*/*.flac")))
        if whole.is_file() and whole.read_text().split()[-1] == str(files):
            return
        name = f"{subset}.tar.gz"
        md5 = read_checksums(text(f"{url}/md5sum.txt")).get(name)
        if md5 is None:
            raise InputError(f"{url}/md5sum.txt", f"no {name}", "the checksum of every subset")
        archive = download(f"{url}/{name}", f"md5:{md5}")
        unpack(archive, target)
        files = len(list((target / "LibriSpeech" / subset).glob("*/*/*.flac")))
        outputs.write(whole, f"{md5} {files}\n")
        discard(archive)


def _speakers(root: Path, subset: str) -> Pool:
    """Speaker → utterances of a subset, <subset>/<speaker>/<chapter>/<utterance>.flac."""
    pool: Pool = {}
    for path in sorted((root / subset).glob("*/*/*.flac")):
        name = PurePosixPath(path.relative_to(root))
        pool.setdefault(name.parts[1], []).append(name)
    return pool


def _check_disjoint(pools: dict[str, Pool]) -> None:
    for one, other in combinations(SPLITS, 2):
        both = sorted(pools[one].keys() & pools[other].keys())
        if both:
            found = f"speaker {both[0]} in {one} and {other}"
            raise InputError("speech.subsets", found, "different speakers in each")
