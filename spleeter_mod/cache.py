"""The segments of a list of songs, as Spleeter's input pipeline stores them, kept between runs.

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
from importlib.metadata import version
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from spleeter_mod import session
from spleeter_mod.data import stored_segments
from spleeter_mod.files import remove
from spleeter_mod.settings import Settings
from spleeter_mod.tracks import SongList

FORMAT = 1  # of the stored segments; to be raised when `data.stored_segments` stores something else


def segments(settings: Settings, songs: SongList, chunks_per_song: int, folder: Path) -> Path:
    """The prefix of the files of a cache, which is filled if it is not there.

    Args:
        settings: the run.
        songs: the list.
        chunks_per_song: segments of every song.
        folder: of all caches.

    Raises:
        InputError: a file cannot be read.
        OSError: the disk is full.
    """
    place = folder / key(settings, songs, chunks_per_song)
    folder.mkdir(parents=True, exist_ok=True)
    # One process fills, others wait; the kernel releases the lock at any death.
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            _fill(settings, songs, chunks_per_song, place)
    return place / "segments"


def key(settings: Settings, songs: SongList, chunks_per_song: int) -> str:
    """A hash of all that determines the stored segments; where the songs lie is not part of it."""
    tracks = songs.tracks
    paths = [path for track in tracks for path in (track.mixture, *track.stems.values())]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(_digest, paths))
    names = ("sample_rate", "frame_length", "frame_step", "T", "F", "chunk_seconds")
    values = [FORMAT, version("spleeter"), chunks_per_song, [settings.mix_name, *settings.stems]]
    values += [getattr(settings, name) for name in names]
    values += [[track.duration for track in tracks], digests]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _digest(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _fill(settings, songs, chunks_per_song, place):
    made = place.with_suffix(".tmp")
    remove(made)
    try:
        with session.explained(made):
            stored = stored_segments(settings, songs, chunks_per_song, made / "segments")
            for _ in tqdm(
                stored.map(lambda sample: tf.constant(0)),
                desc=f"reading {songs.path.name}",
                total=len(songs.tracks) * chunks_per_song,
                unit="segment",
                disable=not sys.stderr.isatty(),
            ):
                pass
        made.rename(place)
    finally:
        remove(made)
