"""A cache of spectrograms: the segments of a list of songs, kept between runs.

Spleeter writes its cache to a file that the configuration names. The next run reads this file, even
if it is of other songs or of another STFT. Here the folder of a cache is named after all that
determines its content, so that a run finds the cache of its own songs and STFT and no other. A run
adds the segments that it needs; the file of a segment appears when it is complete.
"""

from __future__ import annotations

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

from contract.errors import InputError, naming
from contract.files import remove, sha256, write_all
from contract.locks import lock
from contract.sizes import frame_count
from contract.sources import CHANNELS
from spleeter_mod.adapter import SoundfileAudioAdapter, part
from spleeter_mod.settings import MARGIN_SECONDS, Settings
from spleeter_mod.spectrogram import decode, encode, magnitudes
from spleeter_mod.tracks import SongList, Track

FORMAT = 3  # the version of stored segments, which is raised when what is stored changes
LEVELS = np.dtype(float)  # the type of a spectrogram's lowest and highest level, in dB


@dataclass(frozen=True)
class Chunks:
    """The chunks that are taken of every song.

    Attributes:
        count: the number of chunks of a song.
        seconds: the length of each.
    """

    count: int
    seconds: float


def to_train_on(settings: Settings) -> Chunks:
    """Returns the chunks of which training takes crops.

    Args:
        settings: the run.
    """
    return Chunks(settings.chunks_per_song, settings.chunk_seconds)


def to_validate_on(settings: Settings) -> Chunks:
    """Returns the chunk, in the middle of a song, whose middle validation takes.

    Args:
        settings: the run.
    """
    return Chunks(1, settings.valid_chunk_seconds)


class Segments:
    """The segments of a list of songs, song by song, and the folder in which they are kept.

    A segment is a chunk of a song as spectrograms, first of the mixture, then of the stems. Each
    segment has a file: the lowest and the highest level of each spectrogram (instruments, 2) in dB,
    and then the codes of the spectrograms (instruments, frames, F, channels), one byte each.

    Args:
        settings: the run.
        songs: the list.
        chunks: the chunks that are taken of every song.
        place: the folder, as the function `place` returns it for the same arguments.
    """

    def __init__(self, settings: Settings, songs: SongList, chunks: Chunks, place: Path) -> None:
        self._settings = settings
        self._songs = songs
        self._chunks = chunks
        self._place = place
        self._chunk_starts = [
            (track, start) for track in songs.tracks for start in starts(track, chunks)
        ]

    def __len__(self) -> int:
        return len(self._chunk_starts)

    @property
    def songs(self) -> int:
        """The number of songs."""
        return len(self._songs.tracks)

    @property
    def per_song(self) -> int:
        """The number of segments of each song."""
        return self._chunks.count

    def file(self, number: int) -> Path:
        """Returns the file of a segment, which may not exist yet.

        Args:
            number: the number of the segment.
        """
        return self._place / f"{number:06}"

    def frames(self, number: int) -> int:
        """Returns the length of a segment, in frames.

        Args:
            number: the number of the segment.
        """
        track, start = self._chunk_starts[number]
        settings = self._settings
        span = part(track.frames, settings.sample_rate, start, self._chunks.seconds)
        sizes = settings.frame_length, settings.frame_step
        return frame_count(len(span), *sizes, at_least=settings.T)

    def fill(self, numbers: Iterable[int]) -> None:
        """Makes those of the segments `numbers` that do not exist yet.

        Args:
            numbers: the numbers of the segments.

        Raises:
            InputError: a song cannot be read.
            OSError: the disk is full.
        """
        self._place.mkdir(parents=True, exist_ok=True)
        # One process fills the cache while the others wait.
        with lock(self._place.with_suffix(".lock"), "the spectrograms of the same songs"):
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

    def _make(self, number: int) -> None:
        """Writes the file of segment `number`."""
        file = self.file(number)
        unfinished = file.with_suffix(".tmp")
        try:
            codes, levels = self._spectrograms(*self._chunk_starts[number])
            with naming(file), unfinished.open("wb", buffering=0) as out:
                for array in (levels, codes):
                    write_all(out, array.data.cast("B"))
            unfinished.rename(file)
        finally:
            remove(unfinished)

    def _spectrograms(self, track: Track, start: float) -> tuple[np.ndarray, np.ndarray]:
        """Computes a segment of a song, from second `start` on.

        Returns:
            The codes (instruments, frames, F, channels) and the levels (instruments, 2).
        """
        settings, paths = self._settings, _files(track)
        codes, levels = None, np.empty((len(paths), 2), LEVELS)
        for number, path in enumerate(paths):
            waveform = _read(path, start, self._chunks.seconds, settings.sample_rate)
            # The last frames may reach beyond the end of a short song, into silence, as they do in
            # separation: T steps of the STFT make T frames.
            sizes = settings.frame_length, settings.frame_step
            spectrogram = magnitudes(waveform, *sizes, settings.F, at_least=settings.T)
            if codes is None:
                codes = np.empty((len(paths), *spectrogram.shape), np.uint8)
            levels[number] = encode(spectrogram, codes[number])
        return codes, levels

    def read(self, number: int, first: int, spectrograms: np.ndarray) -> None:
        """Reads magnitudes of a segment.

        Args:
            number: the number of the segment, which `fill` has made.
            first: the first frame to read.
            spectrograms: receives the magnitudes, (instruments, frames, F, channels), float32.
        """
        levels, codes = self.stored(number)
        cut = codes[:, first : first + spectrograms.shape[1]]
        for part_codes, (lowest, highest), spectrogram in zip(
            cut, levels, spectrograms, strict=True
        ):
            decode(part_codes, lowest, highest, spectrogram)

    def stored(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the content of a segment's file, mapped to memory.

        Args:
            number: the number of the segment, which `fill` has made.

        Returns:
            The levels in dB, (instruments, 2), float64, and the codes,
            (instruments, frames, F, channels), bytes.
        """
        file, (track, _) = self.file(number), self._chunk_starts[number]
        instruments = len(_files(track))
        levels = np.memmap(file, LEVELS, "r", shape=(instruments, 2))
        codes = np.memmap(file, np.uint8, "r", offset=levels.nbytes)
        return levels, codes.reshape(instruments, -1, self._settings.F, CHANNELS)


def place(settings: Settings, songs: SongList, chunks: Chunks, folder: Path) -> Path:
    """Returns the folder of a cache.

    It is named by a hash of all that determines the segments. All songs are read for it. Their
    paths are not part of it.

    Args:
        settings: the run.
        songs: the list.
        chunks: the chunks that are taken of every song.
        folder: the folder of all caches.

    Raises:
        OSError: a file cannot be read.
    """
    paths = [path for track in songs.tracks for path in _files(track)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(sha256, paths))
    names = ("sample_rate", "frame_length", "frame_step", "T", "F")
    values = [FORMAT, version("spleeter"), chunks.count, chunks.seconds]
    values += [getattr(settings, name) for name in names]
    values += [[track.duration for track in songs.tracks], digests]
    return folder / hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _files(track: Track) -> tuple[Path, ...]:
    """Returns the files of a song, first the mixture, then the stems."""
    return track.mixture, *track.stems.values()


def starts(track: Track, chunks: Chunks) -> list[float]:
    """Returns where the chunks of a song begin, in seconds, as in Spleeter.

    A single chunk is in the middle of the song. Several are distributed evenly between a margin at
    the start of the song and one at its end. A chunk that is too long for this begins at 0.

    Args:
        track: the song.
        chunks: the chunks that are taken of it.
    """
    if chunks.count == 1:
        return [max((track.duration - chunks.seconds) / 2, 0)]
    room = track.duration - chunks.seconds - 2 * MARGIN_SECONDS
    return [max(MARGIN_SECONDS + room * k / (chunks.count - 1), 0) for k in range(chunks.count)]


def _read(path: Path, start: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Reads a part of a song, (samples, channels)."""
    try:
        waveform, _ = SoundfileAudioAdapter().load(path, start, seconds, sample_rate)
    except SpleeterError:
        problem, remedy = "can no longer be read", "restore it, and repeat the command"
        raise InputError(path, problem, remedy) from None
    if not np.isfinite(waveform).all():
        remedy = "replace the file, or remove the song from the list"
        raise InputError(path, "has NaN or infinite samples", remedy)
    return waveform
