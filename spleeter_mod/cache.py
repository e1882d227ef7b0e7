"""The segments of a list of songs, as spectrograms, kept between runs.

Spleeter writes its cache to a file that the configuration names and reads whatever it finds there
the next time, were it of other songs or another STFT. Here a cache lies in a folder named after
all that determines its content, so that it is found by the runs it is for and by no others. It
appears when it is whole.
"""

import fcntl
import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from spleeter import SpleeterError
from tqdm import tqdm

from spleeter_mod.adapter import SoundfileAudioAdapter
from spleeter_mod.errors import InputError, naming
from spleeter_mod.files import remove, write_all
from spleeter_mod.settings import CHANNELS, MARGIN_SECONDS, Settings
from spleeter_mod.spectrogram import decode, encode, magnitudes
from spleeter_mod.tracks import SongList, Track

FORMAT = 2  # of the stored segments; to be raised when something else is stored


@dataclass(frozen=True)
class Segments:
    """A cache.

    Attributes:
        files: of each segment, song by song; the bytes of its spectrograms, (instruments, frames,
            F, channels), of the mixture and then of the stems.
        levels: the lowest and the highest of each spectrogram, in dB; (segments, instruments, 2).
        bins: F.
    """

    files: list[Path]
    levels: np.ndarray
    bins: int

    def __len__(self) -> int:
        return len(self.files)

    def codes(self, number: int) -> np.ndarray:
        """The bytes of segment `number`, (instruments, frames, F, channels), on the disk."""
        shape = len(self.levels[number]), -1, self.bins, CHANNELS
        return np.memmap(self.files[number], np.uint8, "r").reshape(shape)

    def frames(self, number: int) -> int:
        """How long segment `number` is."""
        return self.codes(number).shape[1]

    def read(self, number: int, first: int, spectrograms: np.ndarray) -> None:
        """Read the magnitudes of segment `number` from frame `first` on.

        Args:
            number: of the segment.
            first: frame.
            spectrograms: (instruments, frames, F, channels), 32-bit floats, to write to.
        """
        cut = self.codes(number)[:, first : first + spectrograms.shape[1]]
        for codes, levels, spectrogram in zip(cut, self.levels[number], spectrograms, strict=True):
            decode(codes, *levels, spectrogram)


def place(settings: Settings, songs: SongList, chunks_per_song: int, folder: Path) -> Path:
    """The cache's own folder in the `folder` of all caches, named by a hash of all that determines
    the segments; where the songs lie is not part of it.

    Args:
        settings: the run.
        songs: the list.
        chunks_per_song: segments of every song.
        folder: of all caches.

    Raises:
        OSError: a file cannot be read.
    """
    paths = [path for track in songs.tracks for path in _files(track)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(_digest, paths))
    names = ("sample_rate", "frame_length", "frame_step", "T", "F", "chunk_seconds")
    values = [FORMAT, version("spleeter"), chunks_per_song]
    values += [getattr(settings, name) for name in names]
    values += [[track.duration for track in songs.tracks], digests]
    return folder / hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def segments(settings: Settings, songs: SongList, chunks_per_song: int, place: Path) -> Segments:
    """The cache in `place`, which is filled if it is not there.

    Args:
        settings: the run.
        songs: the list.
        chunks_per_song: segments of every song.
        place: as the function `place` has it for the same run and songs.

    Raises:
        InputError: a file cannot be read.
        OSError: the disk is full.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    # One process fills, others wait; the kernel releases the lock at any death.
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            _fill(settings, songs, chunks_per_song, place)
    count = len(songs.tracks) * chunks_per_song
    levels = np.fromfile(place / "levels").reshape(count, -1, 2)
    return Segments([_file(place, number) for number in range(count)], levels, settings.F)


def _file(place, number):
    return place / f"{number:06}"


def _files(track):
    return track.mixture, *track.stems.values()


def _digest(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def starts(track: Track, chunk_seconds: float, count: int) -> list[float]:
    """Where Spleeter's chunks of a song begin, in seconds: the middle, or from a margin at its
    start to one at its end, evenly; a chunk longer than that begins with the song."""
    if count == 1:
        return [max((track.duration - chunk_seconds) / 2, 0)]
    room = track.duration - chunk_seconds - 2 * MARGIN_SECONDS
    return [max(MARGIN_SECONDS + room * k / (count - 1), 0) for k in range(count)]


def _fill(settings, songs, chunks_per_song, place):
    made = place.with_suffix(".tmp")
    remove(made)
    chunks = [
        (_files(track), start)
        for track in songs.tracks
        for start in starts(track, settings.chunk_seconds, chunks_per_song)
    ]

    def store(number):
        codes, levels = _spectrograms(settings, *chunks[number])
        _write(_file(made, number), codes)
        return levels

    try:
        made.mkdir()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            levels = tqdm(
                pool.map(store, range(len(chunks))),
                desc=f"reading {songs.path.name}",
                total=len(chunks),
                unit="segment",
                disable=not sys.stderr.isatty(),
            )
            try:
                _write(made / "levels", np.array(list(levels), float))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        made.rename(place)
    finally:
        remove(made)


def _spectrograms(settings, paths, start):
    """A segment's codes and levels."""
    codes, levels = None, []
    for number, path in enumerate(paths):
        waveform = _read(path, start, settings)
        # The last frame may hang over the end of a short song, into silence, as in separation: T
        # steps of the STFT make T frames.
        sizes = settings.frame_length, settings.frame_step
        spectrogram = magnitudes(waveform, *sizes, settings.F, at_least=settings.T)
        if codes is None:
            codes = np.empty((len(paths), *spectrogram.shape), np.uint8)
        levels.append(encode(spectrogram, codes[number]))
    return codes, levels


def _read(path, start, settings):
    part = start, settings.chunk_seconds, settings.sample_rate
    try:
        waveform, _ = SoundfileAudioAdapter().load(path, *part)
    except SpleeterError:
        expected = "the audio it had when training began"
        raise InputError(path, "a file that cannot be read", expected) from None
    if not np.isfinite(waveform).all():
        raise InputError(path, "samples that are not finite", "numbers")
    return waveform


def _write(path, array):
    with naming(path), path.open("wb", buffering=0) as file:
        write_all(file, array.data.cast("B"))
