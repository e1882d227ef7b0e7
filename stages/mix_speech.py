"""mix_speech: makes the mixtures by their recipes, on all cores, in WSJ0-mix's layout.

data/speech/mixtures/wav8k/min/{tr,cv,tt}/{mix,s1,s2,…}/<name>.wav, where other toolkits look for
them. Mixtures that are ready only take their place there.

Until all are made they lie in the scratch folder, under a hash of the recipes, the settings and the
code. A journal there has a line for each that is finished: its split and name, what its utterances
were then, and the checksums of its files. Interrupted, the next run makes what is missing or is no
longer so.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import scipy
import soundfile
from scipy.signal import resample_poly

from metrics.errors import BadFilesError, InputError
from metrics.progress import progress
from metrics.workers import on_all_cores
from stages import librispeech, wsj0
from stages.audio import pcm16
from stages.corpus import INDEX, read_index, read_utterance
from stages.files import writing
from stages.layout import CORPUS, MIXTURES, RECIPES
from stages.lock import lock
from stages.outputs import adopt, directory
from stages.params import LibriSpeechMix, Speech, SpeechFolder, SVoiceDebug, WSJ0Mix, load
from stages.run import run
from stages.scratch import scratch_root
from stages.sphere import is_sphere
from stages.wsj0mix import (
    LEVELS,
    SPLITS,
    Recipe,
    folders,
    list_name,
    mix,
    read_levels,
    read_recipes,
    split_folder,
)

BATCH = 8  # mixtures that a worker gets at once
MOST_ERRORS = 10  # bad utterances, before mixing stops
CODE = ("audio.py", "corpus.py", "mix_speech.py", "sphere.py", "wsj0mix.py")


@dataclass(frozen=True)
class Job:
    """One mixture to be made."""

    recipe: Recipe
    utterances: tuple[Path, ...]
    sizes: tuple[int | None, ...]  # bytes, as the corpus's index has them
    levels: tuple[float, ...]
    sample_rate: int  # Hz
    mode: str
    folder: Path  # of the split
    decoded: Path  # a folder for what is decoded once: each utterance is in several mixtures
    made: tuple[int, ...] | None  # what the journal has of it

    @property
    def files(self) -> list[Path]:
        names = folders(len(self.utterances))
        return [self.folder / name / self.recipe.name for name in names]


def main() -> None:
    make(load().speech, CORPUS, RECIPES, MIXTURES)


def make(
    speech: Speech, corpus: Path, recipes: Path, target: Path, workers: int | None = None
) -> None:
    """Makes every mixture of every split; the same bytes whatever the number of workers.

    Raises:
        InputError: a bad list, an utterance without a level, or utterances that are missing, cut
            short, changed, or not mono. The mixtures without them are kept for the next run.
    """
    if isinstance(speech, SVoiceDebug | SpeechFolder):
        _place(speech, corpus, target)
    else:
        _mix_all(speech, corpus, recipes, target, workers)


def _place(speech: Speech, ready: Path, target: Path) -> None:
    with directory(target) as root:
        for split, name in SPLITS.items():
            folder = split_folder(root, speech.sample_rate, speech.mode, split)
            shutil.copytree(ready / name, folder, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _mix_all(speech, corpus, recipes, target, workers) -> None:
    root = _corpus_folder(speech, corpus)
    with _unfinished(_fingerprint(speech, recipes)) as scratch:
        journal = scratch / "journal.txt"
        jobs = _jobs(speech, root, corpus, recipes, scratch, _read_journal(journal))
        shutil.rmtree(scratch / "decoded", ignore_errors=True)  # nobody knows whether it is intact
        (scratch / "decoded").mkdir()
        for folder in {job.folder for job in jobs}:
            for name in folders(speech.speakers):
                (folder / name).mkdir(parents=True, exist_ok=True)
        errors: dict[str, InputError] = {}
        results = on_all_cores(_make, jobs, workers, BATCH)
        with journal.open("a") as table, closing(results):
            for job, result in zip(progress(jobs, "mix_speech", "mixture"), results, strict=False):
                if isinstance(result, InputError):
                    errors.setdefault(str(result), result)
                    if len(errors) == MOST_ERRORS:
                        break
                elif result != job.made:
                    print(job.folder.name, job.recipe.name, *result, file=table, flush=True)
        if errors:
            raise BadFilesError(list(errors.values()))
        adopt(scratch / "mixtures", target)


def _corpus_folder(speech: Speech, corpus: Path) -> Path:
    if isinstance(speech, WSJ0Mix):
        return wsj0.corpus_folder(speech)
    return librispeech.corpus_folder(speech) if isinstance(speech, LibriSpeechMix) else corpus


def _jobs(speech, root, corpus, recipes, scratch, made) -> list[Job]:
    levels = read_levels(recipes / LEVELS)
    index = read_index(corpus / INDEX) if (corpus / INDEX).is_file() else {}
    indexed = {path.with_suffix(""): path for path in index}
    jobs = []
    for split in SPLITS:
        folder = split_folder(scratch / "mixtures", speech.sample_rate, speech.mode, split)
        for recipe in read_recipes(recipes / list_name(speech.speakers, split), speech.speakers):
            names = [indexed.get(name.with_suffix(""), name) for name in recipe.sources]
            jobs.append(
                Job(
                    recipe,
                    tuple(root / name for name in names),
                    tuple(index.get(name) for name in names),
                    tuple(_level(levels, name, recipes) for name in names),
                    speech.sample_rate,
                    speech.mode,
                    folder,
                    scratch / "decoded",
                    made.get((folder.name, recipe.name)),
                )
            )
    return jobs


def _level(levels: dict[str, float], name: PurePosixPath, recipes: Path) -> float:
    if name.stem not in levels:
        raise InputError(recipes / LEVELS, f"no level of {name.stem}", "one per utterance")
    return levels[name.stem]


def _make(job: Job) -> tuple[int, ...] | InputError:
    """Mixes, unless it is done and intact. Returns its numbers for the journal, or what is wrong
    with an utterance."""
    try:
        before = _state(job.utterances)
        if job.made == (before, *_checksums(job.files)):
            return job.made
        sources = [
            _resampled(path, size, job)
            for path, size in zip(job.utterances, job.sizes, strict=True)
        ]
    except InputError as error:
        return error
    snrs = [float(snr) for snr in job.recipe.snrs]
    mixture, scaled = mix(sources, job.levels, snrs, job.mode)
    contents = [pcm16(samples, job.sample_rate) for samples in (mixture, *scaled)]
    for path, content in zip(job.files, contents, strict=True):
        with writing(path) as stream:
            stream.write(content)
    return before, *(zlib.crc32(content) for content in contents)


def _state(utterances: tuple[Path, ...]) -> int:
    """A number that is another when a file has changed: of sizes and times."""
    try:
        files = [(str(path), path.stat()) for path in utterances]
    except FileNotFoundError as error:
        raise InputError(error.filename, "no such file", "an utterance of the corpus") from None
    return zlib.crc32(repr([(name, s.st_size, s.st_mtime_ns) for name, s in files]).encode())


def _resampled(path: Path, size: int | None, job: Job) -> np.ndarray:
    """An utterance (samples,) at the mixture's rate, by the filter that Matlab's `resample` has
    too: a Kaiser window of β = 5 over ten zero crossings to a side."""
    found = path.stat().st_size
    if size not in (None, found):
        expected = f"{size} as listed (`dvc repro -f fetch_speech` lists it anew)"
        raise InputError(path, f"{found} bytes", expected)
    samples, rate = _read(path, job.decoded)
    return samples if rate == job.sample_rate else resample_poly(samples, job.sample_rate, rate)


def _read(path: Path, decoded: Path) -> tuple[np.ndarray, int]:
    """An utterance (samples,) and its rate in Hz. To decode a SPHERE file takes a program, and ten
    times as long as to mix it."""
    if not is_sphere(path):
        return read_utterance(path)
    kept = decoded / f"{hashlib.sha256(str(path).encode()).hexdigest()}.wav"
    if not kept.is_file():
        samples, rate = read_utterance(path)
        own = kept.with_suffix(f".{os.getpid()}")  # another worker may need it at the same time
        with writing(own) as stream:
            stream.write(pcm16(samples, rate))
        own.replace(kept)
    return soundfile.read(kept)


def _checksums(paths: list[Path]) -> tuple[int, ...]:
    return tuple(zlib.crc32(path.read_bytes()) if path.is_file() else -1 for path in paths)


def _read_journal(path: Path) -> dict[tuple[str, str], tuple[int, ...]]:
    """What is finished: split and file name → its numbers. The last line may be half written; it is
    cut off."""
    text = path.read_text() if path.is_file() else ""
    lines = text[: text.rfind("\n") + 1]
    path.write_text(lines)
    fields = (line.split() for line in lines.splitlines())
    return {(split, name): tuple(map(int, numbers)) for split, name, *numbers in fields}


@contextmanager
def _unfinished(fingerprint: str) -> Iterator[Path]:
    """The folder of the unfinished mixtures, held by one process at a time and removed at the
    end."""
    folder = scratch_root() / "mix_speech" / fingerprint
    with lock(folder.with_suffix(".lock"), "the same mixtures"):
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)


def _fingerprint(speech: Speech, recipes: Path) -> str:
    """A hash of the recipes and levels, the settings, and the code with its libraries."""
    settings = [speech.speakers, speech.sample_rate, speech.mode, np.__version__, scipy.__version__]
    digest = hashlib.sha256(json.dumps(settings).encode())
    lists = [list_name(speech.speakers, split) for split in SPLITS]
    code = [Path(__file__).with_name(name) for name in CODE]
    for path in [*(recipes / name for name in (*lists, LEVELS)), *code]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    run(main)
