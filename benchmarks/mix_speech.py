"""Mixtures per second of mix_speech, compared with a plain loop over the same operations.

    .venv/pipeline/bin/python -m benchmarks.mix_speech

The recipes are like those of WSJ0-2mix, over a stand-in corpus of noise and tones: WAV of 16 kHz,
2 to 8 s long. `loop` reads, resamples, mixes and writes one mixture after the other in one process.
`loops` is one such process per core, each with a share of the mixtures, and shows what this machine
can do at the moment. `mix_speech` is the stage as DVC runs it, with all its checks and its journal,
without the start of Python. `ratio` is the speed relative to `loop` over the same number of
mixtures. The three take turns, and the fastest time of each counts. Their files are compared.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from time import perf_counter
from typing import Any

import soundfile
from scipy.signal import resample_poly

from contract.arguments import Parser
from contract.params import Mixtures, WSJ0Mix
from contract.sources import MIXTURE, speaker
from metrics.core.cores import cores
from stages.datasets.audio import write_pcm16
from stages.datasets.corpus import find_utterances, write_index
from stages.datasets.mixing import make_mixtures
from stages.datasets.recipes import draw_recipes, utterances_of, write_levels, write_recipes
from stages.datasets.wsj0mix import SPLITS, list_name, mix, read_levels, read_recipes, split_folder
from tests.stages import standin

SPEAKERS, UTTERANCES = 20, 10  # of the corpus, and of each speaker
SAMPLE_RATE = 8000
TURNS = 3


def prepare(mixtures: int) -> WSJ0Mix:
    """Makes the corpus and the recipes in the working directory.

    Args:
        mixtures: the number of mixtures.

    Returns:
        The settings of the data set.
    """
    pool = {
        f"{speaker:03d}": [
            PurePosixPath(f"wsj0/si_tr_s/{speaker:03d}/{speaker:03d}{n:05d}.wav")
            for n in range(UTTERANCES)
        ]
        for speaker in range(SPEAKERS)
    }
    for name in (name for names in pool.values() for name in names):
        path = Path("corpus", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(standin.wav(standin.utterance(str(name))))
    counts = Mixtures(train=mixtures - 2, valid=1, test=1)
    people = {speaker: speaker for speaker in pool}
    drawn = draw_recipes(dict.fromkeys(SPLITS, pool), people, counts, 2, random.Random(0))
    lists = Path("recipes")
    lists.mkdir(exist_ok=True)
    Path("index").mkdir(exist_ok=True)
    write_recipes(drawn, 2, lists)
    write_levels(Path("corpus"), utterances_of(drawn), lists)
    write_index(find_utterances(Path("corpus"), utterances_of(drawn)), Path("index"))
    settings = {"name": "wsj0_2mix", "speakers": 2, "sample_rate": SAMPLE_RATE, "mode": "min"}
    return WSJ0Mix(**settings, corpus=str(Path("corpus").absolute()), lists=None, url="")


def loop(target: Path, share: slice = slice(None)) -> None:
    """Makes mixtures one after the other.

    Args:
        target: the folder for the mixtures.
        share: the part of each recipe list to mix.
    """
    levels = read_levels(Path("recipes/activlev.txt"))
    for split in SPLITS:
        folder = split_folder(target, SAMPLE_RATE, "min", split)
        for recipe in read_recipes(Path("recipes", list_name(2, split)), 2)[share]:
            sources = []
            for name in recipe.sources:
                samples, rate = soundfile.read(Path("corpus", name))
                sources.append(resample_poly(samples, SAMPLE_RATE, rate))
            level = [levels[name.stem] for name in recipe.sources]
            mixture, scaled = mix(sources, level, [float(snr) for snr in recipe.snrs], "min")
            write_pcm16(folder / MIXTURE / recipe.name, mixture, SAMPLE_RATE)
            for number, source in enumerate(scaled, 1):
                write_pcm16(folder / speaker(number) / recipe.name, source, SAMPLE_RATE)


def loops(target: Path) -> None:
    """Makes all mixtures in one process per core.

    Args:
        target: the folder for the mixtures.
    """
    fork = multiprocessing.get_context("fork")
    shares = [slice(number, None, cores()) for number in range(cores())]
    processes = [fork.Process(target=loop, args=(target, share)) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def content(folder: Path) -> dict[Path, bytes]:
    """Returns all WAV files in a folder, by their paths in it."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.wav")}


def timed(function: Callable[..., object], *arguments: Any) -> float:
    """Calls a function, and returns the seconds that it takes."""
    started = perf_counter()
    function(*arguments)
    return perf_counter() - started


def measure(speech: WSJ0Mix) -> dict[str, float]:
    """Measures the three ways in turns.

    Args:
        speech: the settings of the data set.

    Returns:
        The fewest seconds of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ("loop", "loops", "mix_speech")}
    for _ in range(TURNS):
        seconds["loop"].append(timed(loop, Path("loop")))
        seconds["loops"].append(timed(loops, Path("loops")))
        arguments = speech, Path("index"), Path("recipes"), Path("mix_speech")
        seconds["mix_speech"].append(timed(make_mixtures, *arguments))
        contents = [content(Path(name)) for name in seconds]
        assert contents[0] == contents[1] == contents[2]
        for name in seconds:
            shutil.rmtree(name)
    return {name: min(turns) for name, turns in seconds.items()}


def main() -> None:
    """Prints a line for each way, for N and 2 N mixtures."""
    parser = Parser(__doc__)
    parser.add_argument("--mixtures", type=int, default=1000, help="N; 2 N are measured as well")
    options = parser.parse_args()
    print(f"{cores()} cores")
    print(f"{'':12}{'mixtures':>10}{'s':>8}{'per s':>8}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for mixtures in (options.mixtures, 2 * options.mixtures):
            seconds = measure(prepare(mixtures))
            for name, least in seconds.items():
                print(f"{name:12}{mixtures:10}{least:8.1f}{mixtures / least:8.1f}", end="")
                print(f"{seconds['loop'] / least:7.2f}", flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
