"""fetch_speech: the corpus and the recipes its mixtures are made by.

data/speech/corpus/<voice>/<utterance>.wav, and data/speech/recipes/ with WSJ0-mix's recipe
lists, mix_<speakers>_spk_{tr,cv,tt}.txt, and the levels list, activlev.txt.
"""

import hashlib
import random
import shutil
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

import soundfile

from metrics.progress import progress
from stages import outputs
from stages.errors import InputError
from stages.params import Speech, load
from stages.run import run
from stages.wsj0mix import SPLITS, Recipe, active_level, list_name

SPEECH = Path("data/speech")
CORPUS = SPEECH / "corpus"
RECIPES = SPEECH / "recipes"
PROMPTS = Path("conf/speech/prompts.sha256")
INSTALLED = Path("/usr/share/asterisk/sounds")
LARGEST_SNR = 2.5  # dB, as in WSJ0-mix: one source up, the other down by as much


def main() -> None:
    speech = load().speech
    fetch(speech, read_prompts(PROMPTS), CORPUS)
    write_recipes(speech, CORPUS, RECIPES)


def read_prompts(path: Path) -> dict[str, dict[str, str]]:
    """Reads the list of chosen prompts, in the format of sha256sum: voice → file → sha256."""
    prompts: dict[str, dict[str, str]] = {}
    for line in path.read_text().splitlines():
        sha256, _, name = line.partition("  ")
        voice, _, file = name.partition("/")
        prompts.setdefault(voice, {})[file] = sha256
    return prompts


def fetch(speech: Speech, prompts: dict[str, dict[str, str]], target: Path) -> None:
    """Collects each voice's chosen prompts: from the installed package, else from Debian's.

    Raises:
        InputError: a package that cannot be had, or a prompt that is not the one chosen.
    """
    with outputs.directory(target) as corpus:
        for voice, details in progress(list(speech.voices.items()), "fetch_speech", "voice"):
            with tempfile.TemporaryDirectory() as scratch:
                sounds = INSTALLED
                if not (sounds / voice).is_dir():
                    sounds = _unpack(details.package, Path(scratch)) / INSTALLED.relative_to("/")
                for file, sha256 in prompts[voice].items():
                    source = sounds / voice / file
                    if not source.is_file():
                        raise InputError(f"{details.package}: {file}", "no such file", "a prompt")
                    found = hashlib.sha256(source.read_bytes()).hexdigest()
                    if found != sha256:
                        raise InputError(f"{details.package}: {file}", f"sha256 {found}", sha256)
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


def write_recipes(speech: Speech, corpus: Path, target: Path) -> None:
    """Draws the recipes of all splits and measures the levels of the utterances they name."""
    utterances = {
        voice: [PurePosixPath(voice, path.name) for path in sorted((corpus / voice).iterdir())]
        for voice in sorted(speech.voices)
    }
    recipes = draw_recipes(speech, utterances)
    with outputs.directory(target) as folder:
        for split, drawn in recipes.items():
            lines = "".join(f"{recipe}\n" for recipe in drawn)
            (folder / list_name(speech.speakers, split)).write_text(lines)
        every = [recipe for drawn in recipes.values() for recipe in drawn]
        named = sorted({path for recipe in every for path in recipe.sources})
        with (folder / "activlev.txt").open("w") as levels:
            for path in named:
                samples, sample_rate = soundfile.read(corpus / path)
                levels.write(f"{path.stem} {active_level(samples, sample_rate):.16e}\n")


def draw_recipes(speech: Speech, utterances: dict[str, list[PurePosixPath]]) -> dict[str, list]:
    """Draws each split's recipes, as WSJ0-mix's were: different people in a mixture, no utterance
    in two splits, levels uniform within ±2.5 dB. The same seed draws the same recipes.

    Args:
        speech: speakers, seed, mixtures and voices.
        utterances: voice → its utterances; shared among the splits by their numbers of mixtures.

    Raises:
        InputError: too few utterances for the splits.
    """
    generator = random.Random(speech.seed)
    wanted = dict(speech.mixtures)
    pools: dict[str, dict[str, list[PurePosixPath]]] = {split: {} for split in SPLITS}
    for voice, names in utterances.items():
        shuffled = generator.sample(names, len(names))
        bounds = _bounds(len(names), [wanted[split] for split in SPLITS])
        for split, (start, end) in zip(SPLITS, bounds, strict=True):
            if start == end:
                raise InputError(voice, f"{len(names)} utterances", "some for each split")
            pools[split][voice] = shuffled[start:end]
    return {split: _draw(speech, pools[split], wanted[split], generator) for split in SPLITS}


def _bounds(total: int, weights: list[int]) -> list[tuple[int, int]]:
    ends = [round(total * sum(weights[: n + 1]) / sum(weights)) for n in range(len(weights))]
    return list(zip([0, *ends], ends, strict=False))


def _draw(speech, pool, count: int, generator: random.Random) -> list[Recipe]:
    people: dict[str, list[str]] = {}
    for voice in pool:
        people.setdefault(speech.voices[voice].speaker, []).append(voice)
    unused = {voice: [] for voice in pool}
    drawn: dict[tuple, Recipe] = {}
    for _ in range(100 * count):
        if len(drawn) == count:
            return list(drawn.values())
        sources = []
        for person in generator.sample(sorted(people), speech.speakers):
            voice = generator.choice(people[person])
            if not unused[voice]:  # every utterance once before any twice
                unused[voice] = generator.sample(pool[voice], len(pool[voice]))
            sources.append(unused[voice].pop())
        recipe = Recipe(tuple(sources), _levels(speech, generator))
        drawn.setdefault(tuple(sorted(sources)), recipe)
    raise InputError("speech.mixtures", f"{count} in a split", "fewer for these utterances")


def _levels(speech: Speech, generator: random.Random) -> tuple[str, ...]:
    """Levels in dB that come in opposite pairs; an odd source out is at 0."""
    levels = []
    for _ in range(speech.speakers // 2):
        snr = generator.uniform(0, LARGEST_SNR)
        levels += [f"{snr:.5g}", f"{-snr:.5g}"]
    return (*levels, *["0"] * (speech.speakers % 2))


if __name__ == "__main__":
    run(main)
