"""The embedded corpus: prompts of telephone systems, from Debian's packages."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from contract.errors import InputError
from contract.files import new_folder
from contract.layout import CONF
from contract.params import MiniSpeech
from metrics.core.progress import progress
from stages.datasets.recipes import Pool, draw_recipes, utterances_of, write_levels, write_recipes
from stages.datasets.wsj0mix import SPLITS, Recipe
from stages.fetching.checksums import check_sha256, read_checksums

PROMPTS = CONF / "speech" / "prompts.sha256"  # the chosen prompts and their checksums
INSTALLED = Path("/usr/share/asterisk/sounds")


def fetch(speech: MiniSpeech, corpus: Path, recipes: Path) -> None:
    """Collects the chosen prompts, as corpus/<voice>/<utterance>.wav, and draws recipes.

    Args:
        speech: the configuration.
        corpus: the new folder of the utterances.
        recipes: the new folder of the recipe and level lists.

    Raises:
        InputError: a voice has no chosen prompts, two voices have one language, a package cannot be
            downloaded, a prompt is missing or differs from the chosen one, or there are too few
            prompts for the recipes.
    """
    prompts = read_prompts(PROMPTS)
    _check_voices(speech.voices, prompts)
    with new_folder(corpus) as utterances, new_folder(recipes) as lists:
        collect(speech, prompts, utterances)
        drawn = draw(speech, utterances)
        write_recipes(drawn, speech.speakers, lists)
        write_levels(utterances, utterances_of(drawn), lists)


def read_prompts(path: Path) -> dict[str, dict[str, str]]:
    """Reads the SHA-256 checksum of every chosen prompt, by voice and file name.

    Args:
        path: a list of checksums, `sha256  voice/file` in each line.
    """
    prompts: dict[str, dict[str, str]] = {}
    for name, sha256 in read_checksums(path.read_text()).items():
        voice, _, file = name.partition("/")
        prompts.setdefault(voice, {})[file] = sha256
    return prompts


def _check_voices(voices: Iterable[str], prompts: dict[str, dict[str, str]]) -> None:
    """Raises InputError for a voice without chosen prompts, or of the same language as another."""
    by_language: dict[str, str] = {}
    for voice in voices:
        where = f"speech.voices.{voice}"
        if voice not in prompts:
            remedy = f"add the checksums of its prompts to {PROMPTS}, or remove this voice"
            raise InputError(where, f"{PROMPTS} lists no prompts of this voice", remedy)
        other = by_language.setdefault(_language(voice), voice)
        if other != voice:
            # Their prompts have the same names, by which mixtures and levels are told apart.
            raise InputError(where, f"has the language of {other}", "remove one of the two voices")


def _language(voice: str) -> str:
    """Returns the language of a voice, such as `en` of en_US_f_Allison."""
    return voice.split("_")[0]


def collect(speech: MiniSpeech, prompts: dict[str, dict[str, str]], corpus: Path) -> None:
    """Copies each voice's prompts into `corpus`, from the installed package or from Debian's.

    Args:
        speech: the configuration.
        prompts: the checksum of every prompt, by voice and file name.
        corpus: the folder of the utterances.

    Raises:
        InputError: a package cannot be downloaded, or a prompt is missing or differs from the
            chosen one.
    """
    for voice, details in progress(list(speech.voices.items()), "fetch_speech", "voice"):
        with tempfile.TemporaryDirectory() as scratch:
            sounds = INSTALLED
            if not (sounds / voice).is_dir():
                unpacked = _download_package(details.package, Path(scratch))
                sounds = unpacked / INSTALLED.relative_to("/")
            for file, sha256 in prompts[voice].items():
                source = sounds / voice / file
                where = f"{details.package}: {file}"
                if not source.is_file():
                    remedy = f"use the release of the package that {PROMPTS} lists"
                    raise InputError(where, "there is no such prompt", remedy)
                check_sha256(where, source.read_bytes(), sha256)
                # The language goes first, because the prompts of all voices have the same names.
                name = f"{_language(voice)}-{file.replace('/', '-')}"
                copy = corpus / voice / name
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, copy)


def _download_package(package: str, folder: Path) -> Path:
    """Downloads a Debian package and unpacks it into `folder`, without installing it."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise InputError(
                package,
                f"cannot be downloaded: there is no {tool} on this machine",
                f"put the package's files under {INSTALLED} (any Debian mirror has the package)",
            )
    finished = _apt_get(folder, "download", "-q", package)
    if finished.returncode:
        # The system's package lists may be missing or outdated; lists of our own need no root.
        (folder / "lists").mkdir()
        own_lists = ("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache")
        _apt_get(folder, "update", "-q", *own_lists)
        finished = _apt_get(folder, "download", "-q", package, *own_lists)
    archives = list(folder.glob("*.deb"))
    if finished.returncode or not archives:
        reason = (finished.stderr.strip().splitlines() or ["no package"])[-1]
        raise InputError(
            package,
            f"cannot be downloaded by apt-get ({reason})",
            "check the network, or install the package",
        )
    subprocess.run(["dpkg-deb", "-x", archives[0], folder], check=True)
    return folder


def _apt_get(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["apt-get", *arguments], cwd=folder, capture_output=True, text=True)


def draw(speech: MiniSpeech, corpus: Path) -> dict[str, list[Recipe]]:
    """Draws the recipes of every split from the seed. No utterance is in two splits.

    Args:
        speech: the configuration.
        corpus: the folder that `collect` has filled.

    Raises:
        InputError: there are too few utterances.
    """
    utterances = {
        voice: [PurePosixPath(voice, path.name) for path in sorted((corpus / voice).iterdir())]
        for voice in sorted(speech.voices)
    }
    people = {voice: details.speaker for voice, details in speech.voices.items()}
    generator = random.Random(speech.seed)
    pools = _divide(utterances, dict(speech.mixtures), generator)
    return draw_recipes(pools, people, speech.mixtures, speech.speakers, generator)


def _divide(
    utterances: Pool, mixtures: dict[str, int], generator: random.Random
) -> dict[str, Pool]:
    """Divides each voice's utterances among the splits, in proportion to their mixtures."""
    pools: dict[str, Pool] = {split: {} for split in SPLITS}
    for voice, names in utterances.items():
        shuffled = generator.sample(names, len(names))
        bounds = _bounds(len(names), [mixtures[split] for split in SPLITS])
        for split, (start, end) in zip(SPLITS, bounds, strict=True):
            if start == end:
                problem = f"has {len(names)} utterances, too few to give every split one"
                raise InputError(f"speech.voices.{voice}", problem, "remove this voice")
            pools[split][voice] = shuffled[start:end]
    return pools


def _bounds(total: int, weights: list[int]) -> list[tuple[int, int]]:
    """The starts and ends of consecutive parts of `total` items, in proportion to `weights`."""
    ends = [round(total * sum(weights[: n + 1]) / sum(weights)) for n in range(len(weights))]
    starts = [0, *ends[:-1]]
    return list(zip(starts, ends, strict=True))
