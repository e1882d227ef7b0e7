"""Seconds to fill the cache of spectrograms once: stock Spleeter's input pipeline against ours.

    .venv/spleeter/bin/python -m benchmarks.spleeter_input

The songs are generated in the layout of MUSDB18-HQ, and removed at the end. Each pipeline runs in a
process of its own, with the sizes of Spleeter's musdb.json: one chunk of 20 s of every song, and
five files for each song. The start of TensorFlow is not counted. Stock Spleeter reads the files
through ffmpeg. Ours also hashes all songs, because it finds a cache by their content. `difference`
is the largest difference between the magnitude spectrograms of the two before they are reduced to
8 bits, relative to the largest magnitude.

After that, each feeds batches from its full cache to a device that computes nothing. A training on
a GPU waits for its input if a step takes the GPU less time than a batch takes there.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from contract.arguments import Parser
from contract.layout import list_file
from contract.libraries import toolkit_variables
from contract.sources import MIXTURE, MIXTURE_PATH, STEMS, music_list_columns

if TYPE_CHECKING:
    import tensorflow as tf

    from spleeter_mod.cache import Segments
    from spleeter_mod.settings import Settings
    from spleeter_mod.tracks import SongList

SAMPLE_RATE = 44100
CHUNK_SECONDS = 20.0
LARGEST_DIFFERENCE = 1e-4
WARMUP_BATCHES, BATCHES = 70, 40  # stock Spleeter first fills a buffer of 256 crops


def generate(root: Path, names: Sequence[str], seconds: float) -> None:
    """Generates songs with two tones and noise in each stem, the same ones every time.

    They are written to `root`/train, as WAV of 16 bits.

    Args:
        root: the folder.
        names: the names of the songs.
        seconds: the length of each song.
    """
    times = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32)[:, None] / SAMPLE_RATE
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        song = root / "train" / name
        song.mkdir(parents=True)
        mixture = np.zeros((len(times), 2), np.int16)
        for stem in STEMS:
            tones = np.sin(2 * np.pi * rng.uniform(50, 2000, 2).astype(np.float32) * times)
            noise = rng.random(tones.shape, np.float32) - 0.5
            samples = np.int16(32767 * (0.12 * tones + 0.2 * noise))
            soundfile.write(song / f"{stem}.wav", samples, SAMPLE_RATE, subtype="PCM_16")
            mixture += samples
        soundfile.write(song / "mixture.wav", mixture, SAMPLE_RATE, subtype="PCM_16")


def write_list(path: Path, names: Sequence[str], seconds: float) -> None:
    """Writes a CSV list of generated songs, with paths relative to their root.

    Args:
        path: the list.
        names: the names of the songs.
        seconds: the length of each song.
    """
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(music_list_columns())
        for name in names:
            files = [f"train/{name}/{part}.wav" for part in ("mixture", *STEMS)]
            rows.writerow([*files, float(seconds)])


def run_in_new_process(module: str, *options: str) -> Any:
    """Runs a part of a benchmark in a process of its own.

    Args:
        module: the module of the benchmark.
        options: the options of its command line.

    Returns:
        The last line that it prints, which is JSON.
    """
    finished = subprocess.run(
        [sys.executable, "-m", module, *options],
        env={**os.environ, **toolkit_variables(Path(sys.prefix, "cuda"))},
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        sys.exit(finished.stderr)
    return json.loads(finished.stdout.splitlines()[-1])


def our_run(folder: Path) -> tuple[Settings, SongList]:
    """Returns the settings of our run, and its songs."""
    from benchmarks import stock_spleeter
    from contract.model_settings import UNET_LEVELS
    from spleeter_mod import tracks
    from spleeter_mod.settings import Settings

    stock = stock_spleeter.configuration(folder, folder)
    settings = Settings(
        **{key: stock[key] for key in ("sample_rate", "T", "F", "frame_length", "frame_step")},
        seed=0,
        filters=[16 << level for level in range(UNET_LEVELS)],
        batch_size=stock["batch_size"],
        chunk_seconds=CHUNK_SECONDS,
        chunks_per_song=stock["n_chunks_per_song"],
        steps=1,
        validate_every=1,
        log_every=1,
        optimizer={},
        schedule={},
        clipping={},
    )
    return settings, tracks.read(folder / list_file("train"), settings.sample_rate, root=folder)


def fill_stock(folder: Path) -> float:
    """Fills the cache of stock Spleeter, and returns the seconds that it takes."""
    import tensorflow as tf
    from spleeter.utils.logging import configure_logger

    from benchmarks import stock_spleeter

    configure_logger(verbose=False)
    tf.constant(0)
    started = perf_counter()
    for _ in stock_spleeter.stored_segments(stock_spleeter.configuration(folder, folder), folder):
        pass
    return perf_counter() - started


def fill_ours(folder: Path) -> float:
    """Fills our cache, and returns the seconds that it takes."""
    import spleeter_mod.cache  # noqa: F401, the time of the import is not counted

    settings, songs = our_run(folder)
    started = perf_counter()
    our_segments(settings, songs, folder)
    return perf_counter() - started


def our_segments(settings: Settings, songs: SongList, folder: Path) -> Segments:
    """Returns our segments, of which all are in the cache."""
    from spleeter_mod import cache

    chunks = cache.to_train_on(settings)
    place = cache.place(settings, songs, chunks, folder / "our_cache")
    segments = cache.Segments(settings, songs, chunks, place)
    segments.fill(range(len(segments)))
    return segments


def compare(folder: Path) -> dict[str, float]:
    """Compares the spectrograms and the caches of the two.

    Returns:
        The largest difference of the `spectrograms`, relative to the largest magnitude, and of the
        `codes` in the caches, which are from 0 to 255.
    """
    import tensorflow as tf
    from spleeter.audio.ffmpeg import FFMPEGProcessAudioAdapter
    from spleeter.audio.spectrogram import compute_spectrogram_tf

    from benchmarks import stock_spleeter
    from spleeter_mod.adapter import SoundfileAudioAdapter
    from spleeter_mod.spectrogram import magnitudes

    settings, songs = our_run(folder)
    stock_adapter, our_adapter = FFMPEGProcessAudioAdapter(), SoundfileAudioAdapter()
    sizes = settings.frame_length, settings.frame_step

    spectrograms = 0.0
    for track in songs.tracks:
        offset = max(track.duration / 2 - CHUNK_SECONDS / 2, 0)
        for path in (track.mixture, *track.stems.values()):
            part = (str(path), offset, CHUNK_SECONDS, SAMPLE_RATE)
            waveform, _ = stock_adapter.load(*part)
            expected = compute_spectrogram_tf(tf.constant(waveform), *sizes).numpy()
            waveform, _ = our_adapter.load(*part)
            computed = magnitudes(waveform, *sizes, settings.F, settings.T)
            difference = abs(computed - expected[:, : settings.F]).max() / expected.max()
            spectrograms = max(spectrograms, float(difference))

    stock = stock_spleeter.stored_segments(stock_spleeter.configuration(folder, folder), folder)
    segments = our_segments(settings, songs, folder)
    keys = [f"{name}_spectrogram" for name in (MIXTURE, *STEMS)]
    by_path = {sample[MIXTURE_PATH].numpy(): sample for sample in stock}
    codes = 0
    for number, track in enumerate(songs.tracks):
        sample = by_path.pop(str(track.mixture).encode())
        _, our_codes = segments.stored(number)
        for instrument_codes, key in zip(our_codes, keys, strict=True):
            difference = abs(instrument_codes.astype(int) - sample[key].numpy()).max()
            codes = max(codes, int(difference))
    if by_path:
        sys.exit(f"{len(by_path)} songs are in the cache of stock Spleeter but not in ours")
    return {"spectrograms": spectrograms, "codes": codes}


def feed_stock(folder: Path) -> float:
    """Returns the seconds in which stock Spleeter makes a batch from its cache."""
    from spleeter import dataset
    from spleeter.audio.adapter import AudioAdapter
    from spleeter.utils.logging import configure_logger

    from benchmarks import stock_spleeter

    configure_logger(verbose=False)
    params = stock_spleeter.configuration(folder, folder)
    adapter = AudioAdapter.get(stock_spleeter.ADAPTER)
    return seconds_per_batch(dataset.get_training_dataset(params, adapter, str(folder)))


def feed_ours(folder: Path) -> float:
    """Returns the seconds in which our pipeline makes a batch from its cache."""
    from spleeter_mod import data

    settings, songs = our_run(folder)
    settings = dataclasses.replace(settings, steps=WARMUP_BATCHES + BATCHES)
    segments = our_segments(settings, songs, folder)
    drawn = data.draws(settings, segments)
    share = data.Share(settings.batch_size)
    return seconds_per_batch(data.training_dataset(settings, segments, drawn, 0, share))


def seconds_per_batch(batches: tf.data.Dataset) -> float:
    """Returns the seconds from one batch to the next, for a caller that does nothing with them."""
    following = iter(batches)
    for _ in range(WARMUP_BATCHES):
        next(following)
    started = perf_counter()
    for _ in range(BATCHES):
        next(following)
    return (perf_counter() - started) / BATCHES


PARTS = {
    "stock": fill_stock,
    "ours": fill_ours,
    "compare": compare,
    "feed_stock": feed_stock,
    "feed_ours": feed_ours,
}


def main() -> None:
    """Prints a line for each pipeline."""
    parser = Parser(__doc__)
    parser.add_argument("--songs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each song")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.folder)))
        return
    if options.seconds < CHUNK_SECONDS:
        parser.error(f"--seconds: found {options.seconds}, expected at least {CHUNK_SECONDS}")
    print(f"{options.songs} songs of {options.seconds:g} s, {os.cpu_count()} CPU cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        names = [f"song {number:02}" for number in range(options.songs)]
        generate(Path(folder), names, options.seconds)
        write_list(Path(folder, list_file("train")), names, options.seconds)
        os.sync()  # so that writing the songs to the disk does not slow the first measurement
        stock, our, difference, stock_batch, our_batch = (
            run_in_new_process("benchmarks.spleeter_input", "--part", part, "--folder", folder)
            for part in PARTS
        )
    print(f"{'variant':9}{'seconds':>9}{'ratio':>7}{'difference':>12}")
    print(f"{'stock':9}{stock:9.2f}{1:7.2f}")
    print(f"{'ours':9}{our:9.2f}{stock / our:7.2f}{difference['spectrograms']:12.1e}")
    print("Seconds for a batch from the full cache, with a device that computes nothing:")
    print(f"{'stock':9}{stock_batch:9.3f}{1:7.2f}")
    print(f"{'ours':9}{our_batch:9.3f}{stock_batch / our_batch:7.2f}")
    print(f"The stored 8-bit codes differ by at most {difference['codes']} of 255.")
    if difference["spectrograms"] > LARGEST_DIFFERENCE:
        sys.exit(f"The difference is above {LARGEST_DIFFERENCE}.")


if __name__ == "__main__":
    main()
