"""The embedded corpus: prompts for telephone systems, from Debian's packages."""

import random
import shutil
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from metrics.errors import InputError
from metrics.progress import progress
from stages.checksums import check_sha256, read_checksums
from stages.outputs import directory
from stages.params import MiniSpeech
from stages.recipes import Pool, draw_recipes, utterances_of, write_levels, write_recipes
from stages.wsj0mix import SPLITS, Recipe

PROMPTS = Path("conf/speech/prompts.sha256")
INSTALLED = Path("/usr/share/asterisk/sounds")


def fetch(speech: MiniSpeech, corpus: Path, recipes: Path) -> None:
    """Collects the chosen prompts, as corpus/<voice>/<utterance>.wav, and draws recipes.

    Raises:
        InputError: a package that cannot be had, a prompt that is not the one chosen, or too few
            of them for the recipes.
    """
    prompts = read_prompts(PROMPTS)
    with directory(corpus) as utterances, directory(recipes) as lists:
        collect(speech, prompts, utterances)
        drawn = draw(speech, utterances)
        write_recipes(drawn, speech.speakers, lists)
        write_levels(utterances, utterances_of(drawn), lists)


def read_prompts(path: Path) -> dict[str, dict[str, str]]:
    """The chosen prompts: voice → file → sha256."""
    prompts: dict[str, dict[str, str]] = {}
    for name, sha256 in read_checksums(path.read_text()).items():
        voice, _, file = name.partition("/")
        prompts.setdefault(voice, {})[file] = sha256
    return prompts


def collect(speech: MiniSpeech, prompts: dict[str, dict[str, str]], corpus: Path) -> None:
    """Copies each voice's prompts into `corpus`: of the installed package, else of Debian's.

    Raises:
        InputError: a package that cannot be had, or a prompt that is not the one chosen.
    """
    for voice, details in progress(list(speech.voices.items()), "fetch_speech", "voice"):
        with tempfile.TemporaryDirectory() as scratch:
            sounds = INSTALLED
            if not (sounds / voice).is_dir():
                sounds = _unpack(details.package, Path(scratch)) / INSTALLED.relative_to("/")
            for file, sha256 in prompts[voice].items():
                source = sounds / voice / file
                where = f"{details.package}: {file}"
                if not source.is_file():
                    raise InputError(where, "no such file", "a prompt")
                check_sha256(where, source.read_bytes(), sha256)
                # The voice's language leads the name: prompts of all voices are named alike.
                name = f"{voice.split('_')[0]}-{file.replace('/', '-')}"
                copy = corpus / voice / name
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, copy)


def _unpack(package: str, folder: Path) -> Path:
    """Downloads and unpacks a Debian package without installing it."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise InputError(
                package,
                f"no {tool} on this machine",
                f"the package's files under {INSTALLED} (any Debian mirror has the package)",
            )
    download = _apt_get(folder, "download", "-q", package)
    if download.returncode:
        # The system's lists of packages may be missing or old; lists of our own need no root.
        (folder / "lists").mkdir()
        own = ("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache")
        _apt_get(folder, "update", "-q", *own)
        download = _apt_get(folder, "download", "-q", package, *own)
    archives = list(folder.glob("*.deb"))
    if download.returncode or not archives:
        reason = (download.stderr.strip().splitlines() or ["nothing"])[-1]
        raise InputError(package, f"{reason!r} from apt-get", "the package")
    subprocess.run(["dpkg-deb", "-x", archives[0], folder], check=True)
    return folder


def _apt_get(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["apt-get", *arguments], cwd=folder, capture_output=True, text=True)


def draw(speech: MiniSpeech, corpus: Path) -> dict[str, list[Recipe]]:
    """Draws the recipes from the seed. No utterance is in two splits.

    Raises:
        InputError: too few utterances.
    """
    utterances = {
        voice: [PurePosixPath(voice, path.name) for path in sorted((corpus / voice).iterdir())]
        for voice in sorted(speech.voices)
    }
    people = {voice: details.speaker for voice, details in speech.voices.items()}
    generator = random.Random(speech.seed)
    pools = _divided(utterances, dict(speech.mixtures), generator)
    return draw_recipes(pools, people, speech.mixtures, speech.speakers, generator)


def _divided(utterances: Pool, wanted: dict[str, int], generator: random.Random) -> dict[str, Pool]:
    """Shares each voice's utterances among the splits, by their numbers of mixtures."""
    pools: dict[str, Pool] = {split: {} for split in SPLITS}
    for voice, names in utterances.items():
        shuffled = generator.sample(names, len(names))
        bounds = _bounds(len(names), [wanted[split] for split in SPLITS])
        for split, (start, end) in zip(SPLITS, bounds, strict=True):
            if start == end:
                raise InputError(voice, f"{len(names)} utterances", "some for each split")
            pools[split][voice] = shuffled[start:end]
    return pools


def _bounds(total: int, weights: list[int]) -> list[tuple[int, int]]:
    ends = [round(total * sum(weights[: n + 1]) / sum(weights)) for n in range(len(weights))]
    return list(zip([0, *ends], ends, strict=False))
