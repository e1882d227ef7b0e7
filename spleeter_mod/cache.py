"""The segments of a list of songs, as spectrograms, kept between runs.

Spleeter writes its cache to a file that the configuration names and reads whatever it finds there
the next time, were it of other songs or another STFT. Here a cache lies in a folder named after
all that determines its content, so that it is found by the runs it is for and by no others. A run
adds the segments that it needs, each of which appears when it is whole.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from spleeter import SpleeterError
from tqdm import tqdm

from spleeter_mod.adapter import SoundfileAudioAdapter, part
from spleeter_mod.errors import InputError, naming
from spleeter_mod.files import remove, write_all
from spleeter_mod.settings import CHANNELS, MARGIN_SECONDS, Settings
from spleeter_mod.spectrogram import decode, encode, frame_count, magnitudes
from spleeter_mod.tracks import SongList, Track

FORMAT = 3  # of the stored segments; to be raised when something else is stored
LEVELS = np.dtype(float)  # of the lowest and highest level, in dB, of each spectrogram


@dataclass(frozen=True)
class Chunks:
    """What is taken of every song.

    Attributes:
        count: how many.
        seconds: how long each is.
    """

    count: int
    seconds: float


def to_train_on(settings: Settings) -> Chunks:
    """The chunks of which training takes crops."""
    return Chunks(settings.chunks_per_song, settings.chunk_seconds)


def to_validate_on(settings: Settings) -> Chunks:
    """The chunk of whose middle validation takes the middle."""
    return Chunks(1, settings.valid_chunk_seconds)


class Segments:
    """The segments of a list of songs, song by song, and where they are kept.

    Each has a file: first the lowest and the highest level of each of its spectrograms, in dB
    (instruments, 2), then the spectrograms' bytes (instruments, frames, F, channels), of the
    mixture and then of the stems.
    """

    def __init__(self, settings: Settings, songs: SongList, chunks: Chunks, place: Path):
        """
        Args:
            settings: the run.
            songs: the list.
            chunks: what is taken of every song.
            place: as the function `place` has it for the same.
        """
        self._settings = settings
        self._songs = songs
        self._chunks = chunks
        self._place = place
        self._of = [(track, start) for track in songs.tracks for start in starts(track, chunks)]

    def __len__(self) -> int:
        return len(self._of)

    @property
    def songs(self) -> int:
        """How many songs there are."""
        return len(self._songs.tracks)

    @property
    def per_song(self) -> int:
        """How many segments there are of each song."""
        return self._chunks.count

    def file(self, number: int) -> Path:
        """Where segment `number` is kept."""
        return self._place / f"{number:06}"

    def frames(self, number: int) -> int:
        """How long segment `number` is."""
        track, start = self._of[number]
        settings = self._settings
        span = part(track.frames, settings.sample_rate, start, self._chunks.seconds)
        sizes = settings.frame_length, settings.frame_step
        return frame_count(len(span), *sizes, at_least=settings.T)

    def fill(self, numbers: Iterable[int]) -> None:
        """Make those of the segments `numbers` that are not there yet.

        Raises:
            InputError: a file cannot be read.
            OSError: the disk is full.
        """
        self._place.mkdir(parents=True, exist_ok=True)
        # One process fills, others wait; the kernel releases the lock at any death.
        with self._place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = [number for number in numbers if not self.file(number).exists()]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = tqdm(
                    pool.map(self._make, missing),
                    desc=f"reading {self._songs.path.name}",
                    total=len(missing),
                    unit="segment",
                    disable=not missing or not sys.stderr.isatty(),
                )
                try:
                    for _ in made:
                        pass
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise

    def _make(self, number):
        file = self.file(number)
        unfinished = file.with_suffix(".tmp")
        try:
            codes, levels = self._spectrograms(*self._of[number])
            with naming(file), unfinished.open("wb", buffering=0) as out:
                for array in (levels, codes):
                    write_all(out, array.data.cast("B"))
            unfinished.rename(file)
        finally:
            remove(unfinished)

    def _spectrograms(self, track, start):
        """A segment's codes and levels."""
        settings, paths = self._settings, _files(track)
        codes, levels = None, np.empty((len(paths), 2), LEVELS)
        for number, path in enumerate(paths):
            waveform = _read(path, start, self._chunks.seconds, settings.sample_rate)
            # The last frame may hang over the end of a short song, into silence, as in separation:
            # T steps of the STFT make T frames.
            sizes = settings.frame_length, settings.frame_step
            spectrogram = magnitudes(waveform, *sizes, settings.F, at_least=settings.T)
            if codes is None:
                codes = np.empty((len(paths), *spectrogram.shape), np.uint8)
            levels[number] = encode(spectrogram, codes[number])
        return codes, levels

    def read(self, number: int, first: int, spectrograms: np.ndarray) -> None:
        """Read the magnitudes of segment `number`, which is there, from frame `first` on.

        Args:
            number: of the segment.
            first: frame.
            spectrograms: (instruments, frames, F, channels), 32-bit floats, to write to.
        """
        levels, codes = self.stored(number)
        cut = codes[:, first : first + spectrograms.shape[1]]
        for codes_of, levels_of, spectrogram in zip(cut, levels, spectrograms, strict=True):
            decode(codes_of, *levels_of, spectrogram)

    def stored(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The levels and the bytes of segment `number`, which is there, on the disk."""
        file, (track, _) = self.file(number), self._of[number]
        instruments = len(_files(track))
        levels = np.memmap(file, LEVELS, "r", shape=(instruments, 2))
        codes = np.memmap(file, np.uint8, "r", offset=levels.nbytes)
        return levels, codes.reshape(instruments, -1, self._settings.F, CHANNELS)


def place(settings: Settings, songs: SongList, chunks: Chunks, folder: Path) -> Path:
    """The cache's own folder in the `folder` of all caches, named by a hash of all that determines
    the segments; where the songs lie is not part of it.

    Args:
        settings: the run.
        songs: the list.
        chunks: what is taken of every song.
        folder: of all caches.

    Raises:
        OSError: a file cannot be read.
    """
    paths = [path for track in songs.tracks for path in _files(track)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(_digest, paths))
    names = ("sample_rate", "frame_length", "frame_step", "T", "F")
    values = [FORMAT, version("spleeter"), chunks.count, chunks.seconds]
    values += [getattr(settings, name) for name in names]
    values += [[track.duration for track in songs.tracks], digests]
    return folder / hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _files(track):
    return track.mixture, *track.stems.values()


def _digest(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def starts(track: Track, chunks: Chunks) -> list[float]:
    """Where Spleeter's chunks of a song begin, in seconds: the middle, or from a margin at its
    start to one at its end, evenly; a chunk longer than that begins with the song."""
    if chunks.count == 1:
        return [max((track.duration - chunks.seconds) / 2, 0)]
    room = track.duration - chunks.seconds - 2 * MARGIN_SECONDS
    return [max(MARGIN_SECONDS + room * k / (chunks.count - 1), 0) for k in range(chunks.count)]


def _read(path, start, seconds, sample_rate):
    try:
        waveform, _ = SoundfileAudioAdapter().load(path, start, seconds, sample_rate)
    except SpleeterError:
        expected = "the audio it had when training began"
        raise InputError(path, "a file that cannot be read", expected) from None
    if not np.isfinite(waveform).all():
        raise InputError(path, "samples that are not finite", "numbers")
    return waveform
