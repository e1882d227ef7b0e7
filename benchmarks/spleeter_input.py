"""Seconds to fill the cache of spectrograms once: stock Spleeter's input pipeline against ours.

    .venv/spleeter/bin/python -m benchmarks.spleeter_input

The songs are generated in MUSDB18-HQ's layout and removed at the end. Each pipeline runs in a
process of its own, TensorFlow's start not counted, at the sizes of Spleeter's musdb.json: one chunk
of 20 s of every song, five files each. Stock reads them through ffmpeg; ours hashes all songs, too,
to find the cache again by their content. `difference` is the largest one between the two's
magnitude spectrograms before they are reduced to 8 bits, relative to the largest magnitude.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import soundfile

from metrics.arguments import Parser

SAMPLE_RATE = 44100
STEMS = ("vocals", "drums", "bass", "other")
CHUNK_SECONDS = 20.0
LARGEST_DIFFERENCE = 1e-4


def generate(root, names, seconds):
    """Songs of two tones and noise per stem, the same ones every time, in `root`/train, 16 bits."""
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


def write_list(path, names, seconds):
    """The CSV list of generated songs; its paths are relative to their root."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(f"{name}_path" for name in ("mix", *STEMS)), "duration"])
        for name in names:
            files = [f"train/{name}/{part}.wav" for part in ("mixture", *STEMS)]
            rows.writerow([*files, float(seconds)])


def apart(module, *options):
    """Run a part of a benchmark in a process of its own. → what it printed last, from JSON"""
    finished = subprocess.run(
        [sys.executable, "-m", module, *options], capture_output=True, text=True
    )
    if finished.returncode:
        sys.exit(finished.stderr)
    return json.loads(finished.stdout.splitlines()[-1])


def ours(folder):
    """→ our run's settings and its songs"""
    from benchmarks import stock_spleeter
    from spleeter_mod import tracks
    from spleeter_mod.settings import LEVELS, Settings

    stock = stock_spleeter.configuration(folder, folder)
    settings = Settings(
        **{key: stock[key] for key in ("sample_rate", "T", "F", "frame_length", "frame_step")},
        seed=0,
        filters=[16 << level for level in range(LEVELS)],
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
    return settings, tracks.read(folder / "train.csv", settings.sample_rate, root=folder)


def fill_stock(folder):
    """→ seconds"""
    import tensorflow as tf
    from spleeter.utils.logging import configure_logger

    from benchmarks import stock_spleeter

    configure_logger(verbose=False)
    tf.constant(0)
    started = perf_counter()
    for _ in stock_spleeter.stored_segments(stock_spleeter.configuration(folder, folder), folder):
        pass
    return perf_counter() - started


def fill_ours(folder):
    """→ seconds"""
    import spleeter_mod.cache  # noqa: F401, not to be counted

    settings, songs = ours(folder)
    started = perf_counter()
    our_segments(settings, songs, folder)
    return perf_counter() - started


def our_segments(settings, songs, folder):
    from spleeter_mod import cache

    chunks = cache.to_train_on(settings)
    place = cache.place(settings, songs, chunks, folder / "our_cache")
    segments = cache.Segments(settings, songs, chunks, place)
    segments.fill(range(len(segments)))
    return segments


def compare(folder):
    """→ largest difference of spectrograms, and of the codes from 0 to 255 in the two caches"""
    import tensorflow as tf
    from spleeter.audio.ffmpeg import FFMPEGProcessAudioAdapter
    from spleeter.audio.spectrogram import compute_spectrogram_tf

    from benchmarks import stock_spleeter
    from spleeter_mod.adapter import SoundfileAudioAdapter
    from spleeter_mod.spectrogram import magnitudes

    settings, songs = ours(folder)
    stock_adapter, our_adapter = FFMPEGProcessAudioAdapter(), SoundfileAudioAdapter()
    sizes = settings.frame_length, settings.frame_step

    spectrograms = 0.0
    for track in songs.tracks:
        offset = max(track.duration / 2 - CHUNK_SECONDS / 2, 0)
        for path in (track.mixture, *track.stems.values()):
            part = (str(path), offset, CHUNK_SECONDS, SAMPLE_RATE)
            waveform, _ = stock_adapter.load(*part)
            theirs = compute_spectrogram_tf(tf.constant(waveform), *sizes).numpy()
            waveform, _ = our_adapter.load(*part)
            found = magnitudes(waveform, *sizes, settings.F, settings.T)
            difference = abs(found - theirs[:, : settings.F]).max() / theirs.max()
            spectrograms = max(spectrograms, float(difference))

    stock = stock_spleeter.stored_segments(stock_spleeter.configuration(folder, folder), folder)
    mine = our_segments(settings, songs, folder)
    keys = [f"{name}_spectrogram" for name in ("mix", *STEMS)]
    by_path = {sample["mix_path"].numpy(): sample for sample in stock}
    codes = 0
    for number, track in enumerate(songs.tracks):
        other = by_path.pop(str(track.mixture).encode())
        _, ours_codes = mine.stored(number)
        for found, key in zip(ours_codes, keys, strict=True):
            codes = max(codes, int(abs(found.astype(int) - other[key].numpy()).max()))
    if by_path:
        sys.exit(f"{len(by_path)} songs are in stock Spleeter's cache alone")
    return {"spectrograms": spectrograms, "codes": codes}


PARTS = {"stock": fill_stock, "ours": fill_ours, "compare": compare}


def main():
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
        write_list(Path(folder, "train.csv"), names, options.seconds)
        os.sync()  # else the first one measured pays for writing the songs to the disk
        stock, our, difference = (
            apart("benchmarks.spleeter_input", "--part", part, "--folder", folder) for part in PARTS
        )
    print(f"{'variant':9}{'seconds':>9}{'ratio':>7}{'difference':>12}")
    print(f"{'stock':9}{stock:9.2f}{1:7.2f}")
    print(f"{'ours':9}{our:9.2f}{stock / our:7.2f}{difference['spectrograms']:12.1e}")
    print(f"The stored 8-bit codes differ by at most {difference['codes']} of 255.")
    if difference["spectrograms"] > LARGEST_DIFFERENCE:
        sys.exit(f"The difference is above {LARGEST_DIFFERENCE}.")


if __name__ == "__main__":
    main()
