"""Makes mixtures by their recipes, on all cores, so that an interrupted run resumes.

Until all mixtures are made, they lie in the scratch folder, under a hash of the recipes, the
settings and the code. A journal there has one line for each mixture that is finished: its split,
its file name, the state of its utterances when they were mixed, and the checksums of its files. The
next run makes only what the journal lacks, and what has changed since its line was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import scipy
import soundfile
from scipy.signal import resample_poly

from contract.errors import BadFilesError, InputError
from contract.files import adopt, new_folder, sha256, write_shared, writing
from contract.layout import scratch_root
from contract.locks import lock
from contract.params import LibriSpeechMix, Speech, WSJ0Mix
from contract.sources import MIXTURE
from metrics.core.progress import progress
from metrics.workers import on_all_cores
from stages.datasets import librispeech, wsj0
from stages.datasets.audio import pcm16
from stages.datasets.corpus import INDEX, missing_utterance, read_index, read_utterance
from stages.datasets.sphere import is_sphere
from stages.datasets.wsj0mix import (
    LEVELS,
    SPLITS,
    Recipe,
    list_name,
    mix,
    part_names,
    read_levels,
    read_recipes,
    split_folder,
)

BATCH = 8  # mixtures that a worker gets at a time
MOST_ERRORS = 10  # bad utterances after which mixing stops
CODE = ("audio.py", "corpus.py", "mixing.py", "sphere.py", "wsj0mix.py")  # determines the mixtures

# What finds the corpus of the data sets whose corpus stays where it lies.
CORPUS_FOLDERS = {WSJ0Mix: wsj0.corpus_folder, LibriSpeechMix: librispeech.corpus_folder}

JournalKey = tuple[str, str]  # split, file name
JournalEntry = tuple[int, ...]  # the state of the utterances, the checksum of each file


@dataclass(frozen=True)
class Job:
    """One mixture to be made."""

    recipe: Recipe
    utterances: tuple[Path, ...]
    sizes: tuple[int | None, ...]  # bytes of each utterance; None if the corpus has no index
    levels: tuple[float, ...]  # the active speech level of each utterance, as a mean square
    sample_rate: int  # Hz
    mode: str
    folder: Path  # the folder of the split
    decoded: Path  # the folder of decoded utterances: each is used in several mixtures
    journal_entry: JournalEntry | None

    @property
    def files(self) -> list[Path]:
        """The files of the mixture and its sources."""
        names = part_names(len(self.utterances))
        return [self.folder / name / self.recipe.name for name in names]


def make_mixtures(
    speech: Speech, corpus: Path, recipes: Path, target: Path, workers: int | None = None
) -> None:
    """Makes every mixture of every split, or puts ready-made mixtures into their place.

    The files have the same bytes whatever the number of workers.

    Args:
        speech: the configuration.
        corpus: the folder of the utterances, of their index, or of ready-made mixtures.
        recipes: the folder of the recipe and level lists.
        target: the new folder of the mixtures.
        workers: the number of processes; None is one per core.

    Raises:
        InputError: a list is bad, an utterance has no level, or utterances are missing, cut short,
            changed, or not mono. The next run resumes with the mixtures of the other utterances.
    """
    if (corpus / SPLITS["train"] / MIXTURE).is_dir():  # the mixtures are ready-made
        _place(speech, corpus, target)
    else:
        _mix_all(speech, corpus, recipes, target, workers)


def _place(speech: Speech, ready: Path, target: Path) -> None:
    """Links or copies ready-made mixtures to their place in WSJ0-mix's layout."""
    with new_folder(target) as root:
        for split, name in SPLITS.items():
            folder = split_folder(root, speech.sample_rate, speech.mode, split)
            shutil.copytree(ready / name, folder, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _mix_all(
    speech: Speech, corpus: Path, recipes: Path, target: Path, workers: int | None
) -> None:
    """Makes every mixture, in the scratch folder at first."""
    root = _utterances_folder(speech, corpus)
    with _scratch_folder(_fingerprint(speech, recipes)) as scratch:
        journal_path = scratch / "journal.txt"
        jobs = _jobs(speech, root, corpus, recipes, scratch, _read_journal(journal_path))
        # A killed run may have left decoded utterances that are damaged.
        shutil.rmtree(scratch / "decoded", ignore_errors=True)
        (scratch / "decoded").mkdir()
        for folder in {job.folder for job in jobs}:
            for name in part_names(speech.speakers):
                (folder / name).mkdir(parents=True, exist_ok=True)
        errors: dict[str, InputError] = {}  # by message: an utterance is used in several mixtures
        results = on_all_cores(_make, jobs, workers, BATCH)
        with journal_path.open("a") as journal, closing(results):
            for job, result in zip(progress(jobs, "mix_speech", "mixture"), results, strict=False):
                if isinstance(result, InputError):
                    errors.setdefault(str(result), result)
                    if len(errors) == MOST_ERRORS:
                        break
                elif result != job.journal_entry:
                    print(job.folder.name, job.recipe.name, *result, file=journal, flush=True)
        if errors:
            raise BadFilesError(list(errors.values()))
        adopt(scratch / "mixtures", target)


def _utterances_folder(speech: Speech, corpus: Path) -> Path:
    """The folder that the recipes' paths start from."""
    find_corpus = CORPUS_FOLDERS.get(type(speech))
    return find_corpus(speech) if find_corpus else corpus


def _jobs(
    speech: Speech,
    root: Path,
    corpus: Path,
    recipes: Path,
    scratch: Path,
    journal: dict[JournalKey, JournalEntry],
) -> list[Job]:
    """Reads the lists and returns the mixtures of all splits."""
    levels = read_levels(recipes / LEVELS)
    index = read_index(corpus / INDEX) if (corpus / INDEX).is_file() else {}
    # Files may have another suffix than the recipes say, so names are compared without it.
    indexed_names = {path.with_suffix(""): path for path in index}
    jobs = []
    for split in SPLITS:
        folder = split_folder(scratch / "mixtures", speech.sample_rate, speech.mode, split)
        for recipe in read_recipes(recipes / list_name(speech.speakers, split), speech.speakers):
            names = [indexed_names.get(name.with_suffix(""), name) for name in recipe.sources]
            jobs.append(
                Job(
                    recipe=recipe,
                    utterances=tuple(root / name for name in names),
                    sizes=tuple(index.get(name) for name in names),
                    levels=tuple(_level(levels, name, recipes) for name in names),
                    sample_rate=speech.sample_rate,
                    mode=speech.mode,
                    folder=folder,
                    decoded=scratch / "decoded",
                    journal_entry=journal.get((folder.name, recipe.name)),
                )
            )
    return jobs


def _level(levels: dict[str, float], name: PurePosixPath, recipes: Path) -> float:
    if name.stem not in levels:
        remedy = "every utterance needs a line `name level`"
        raise InputError(recipes / LEVELS, f"has no level of {name.stem}", remedy)
    return levels[name.stem]


def _make(job: Job) -> JournalEntry | InputError:
    """Makes a mixture, unless it is finished and intact.

    Returns:
        The mixture's entry in the journal, or what is wrong with an utterance.
    """
    try:
        # The state is taken before the utterances are read: if they change meanwhile, the next run
        # mixes them again.
        state = _state(job.utterances)
        if job.journal_entry == (state, *_checksums(job.files)):
            return job.journal_entry
        sources = [
            _read_resampled(path, size, job)
            for path, size in zip(job.utterances, job.sizes, strict=True)
        ]
    except InputError as error:
        return error
    snrs = [float(snr) for snr in job.recipe.snrs]
    mixture, scaled_sources = mix(sources, job.levels, snrs, job.mode)
    contents = [pcm16(samples, job.sample_rate) for samples in (mixture, *scaled_sources)]
    for path, content in zip(job.files, contents, strict=True):
        with writing(path) as stream:
            stream.write(content)
    return state, *(zlib.crc32(content) for content in contents)


def _state(utterances: Sequence[Path]) -> int:
    """A number that changes when a file does: a checksum of the files' sizes and times."""
    try:
        files = [(str(path), path.stat()) for path in utterances]
    except FileNotFoundError as error:
        raise missing_utterance(error.filename) from None
    state = [(name, status.st_size, status.st_mtime_ns) for name, status in files]
    return zlib.crc32(repr(state).encode())


def _read_resampled(path: Path, expected_size: int | None, job: Job) -> np.ndarray:
    """Reads an utterance, (samples,), at the mixture's sample rate.

    The filter is that of Matlab's `resample`: a Kaiser window of β = 5 over ten zero crossings on
    each side.
    """
    size = path.stat().st_size
    if expected_size not in (None, size):
        problem = f"has {size} bytes, but the corpus's index says {expected_size}"
        raise InputError(path, problem, "run `dvc repro -f fetch_speech` if this is intended")
    samples, sample_rate = _read(path, job.decoded)
    if sample_rate == job.sample_rate:
        return samples
    return resample_poly(samples, job.sample_rate, sample_rate)


def _read(path: Path, decoded: Path) -> tuple[np.ndarray, int]:
    """Reads an utterance, (samples,), and its sample rate in Hz.

    A SPHERE file is decoded once and kept as a WAV file in `decoded`: to decode it takes a process,
    and ten times as long as to mix it.
    """
    if not is_sphere(path):
        return read_utterance(path)
    wav = decoded / f"{hashlib.sha256(str(path).encode()).hexdigest()}.wav"
    if not wav.is_file():
        # Other workers may decode the same file.
        write_shared(wav, pcm16(*read_utterance(path)))
    return soundfile.read(wav)


def _checksums(paths: Sequence[Path]) -> tuple[int, ...]:
    """The CRC of every file; -1 if it is not there."""
    return tuple(zlib.crc32(path.read_bytes()) if path.is_file() else -1 for path in paths)


def _read_journal(path: Path) -> dict[JournalKey, JournalEntry]:
    """Reads the finished mixtures. If the last line is incomplete, it is removed from the file."""
    text = path.read_text() if path.is_file() else ""
    complete_lines = text[: text.rfind("\n") + 1]
    path.write_text(complete_lines)
    fields = (line.split() for line in complete_lines.splitlines())
    return {(split, name): tuple(map(int, numbers)) for split, name, *numbers in fields}


@contextmanager
def _scratch_folder(fingerprint: str) -> Iterator[Path]:
    """Yields the folder of unfinished mixtures to one process at a time.

    It is removed when all mixtures are made, and stays after a failure.
    """
    folder = scratch_root() / "mix_speech" / fingerprint
    with lock(folder.with_suffix(".lock"), "the same mixtures"):
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)


def _fingerprint(speech: Speech, recipes: Path) -> str:
    """A hash of the recipes, the levels, the settings, the code, and its libraries."""
    settings = [speech.speakers, speech.sample_rate, speech.mode, np.__version__, scipy.__version__]
    digest = hashlib.sha256(json.dumps(settings).encode())
    lists = [recipes / list_name(speech.speakers, split) for split in SPLITS]
    code = [Path(__file__).with_name(name) for name in CODE]
    for path in (*lists, recipes / LEVELS, *code):
        digest.update(sha256(path).encode())
    return digest.hexdigest()[:16]
