"""The lists of mixtures, their audio, and the segments that training draws from them."""

import csv
import io
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from svoice.errors import InputError


@dataclass(frozen=True)
class Item:
    """A row of a list: the mixture's file, its sources' files, and their length in samples."""

    mixture: str
    sources: tuple
    length: int


@dataclass(frozen=True)
class Segment:
    """`length` samples of an item from sample `start` on."""

    item: Item
    start: int
    length: int


def read_list(path, speakers, sample_rate):
    """The items of a CSV list, in its order, once every file of theirs is found to be as stated.

    Raises InputError naming the list or the audio file that is not.
    """
    columns = ["mix_path", *(f"s{n}_path" for n in range(1, speakers + 1)), "length", "sample_rate"]
    try:
        rows = list(csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8")), strict=True))
    except FileNotFoundError:
        raise InputError(path, "no file", "a list of mixtures") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"no CSV ({error})", "a list of mixtures") from None
    if not rows or rows[0] != columns:
        raise InputError(
            path,
            f"the columns {','.join(rows[0]) if rows and rows[0] else '(none)'}",
            f"{','.join(columns)} (speech.speakers = {speakers})",
        )
    items = []
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        where = f"{path}, line {line}"
        if len(row) != len(columns):
            raise InputError(where, f"{len(row)} fields", f"{len(columns)}")
        *files, length, rate = row
        for name, value in (("length", length), ("sample_rate", rate)):
            if not (value.isascii() and value.isdigit() and int(value) > 0):
                raise InputError(where, f"{name} {value!r}", "a positive whole number")
        if int(rate) != sample_rate:
            raise InputError(where, f"{rate} Hz", f"speech.sample_rate = {sample_rate} Hz")
        for file in files:
            check_audio(file, int(length), sample_rate, where)
        items.append(Item(files[0], tuple(files[1:]), int(length)))
    if not items:
        raise InputError(path, "no rows", "at least one mixture")
    return items


def check_audio(path, length, sample_rate, row):
    """Raise InputError unless `path` is a mono file of `length` samples, none NaN or infinite."""
    if not os.path.isfile(path):
        raise InputError(path, "no such file", f"the audio of {row}")
    if os.path.getsize(path) == 0:
        raise InputError(path, "an empty file", f"{length} samples ({row})")
    with opened(path) as file:
        if file.channels != 1:
            raise InputError(path, f"{file.channels} channels", "mono")
        if file.samplerate != sample_rate:
            raise InputError(
                path, f"{file.samplerate} Hz", f"speech.sample_rate = {sample_rate} Hz"
            )
        if file.frames != length:
            raise InputError(path, f"{file.frames} samples", f"{length} ({row})")
        # A PCM file of the stated size holds its samples, and they are numbers. Any other must
        # be read to know.
        if not (file.format in ("WAV", "WAVEX") and file.subtype.startswith("PCM_")):
            for block in file.blocks(blocksize=1 << 20, dtype="float32"):
                if not np.isfinite(block).all():
                    raise InputError(path, "NaN or infinite samples", "finite ones")


@contextmanager
def opened(path):
    """An audio file for reading. Raises InputError when it, or the block's reading, fails."""
    try:
        with soundfile.SoundFile(path) as file:
            yield file
    except soundfile.LibsndfileError as error:
        raise InputError(path, f"no readable audio ({error.error_string})", "WAV") from None


def read_audio(path, start, length):
    """Samples start … start + length of a mono file, float32 (length,)."""
    with opened(path) as file:
        file.seek(start)
        samples = file.read(length, dtype="float32")
    if len(samples) != length:
        raise InputError(path, f"{start + len(samples)} samples", f"{start + length}")
    return samples


def load(segments, samples):
    """Read segments into a batch, zero-padded at the end to `samples`.

    → mixtures (batch, samples), sources (batch, C, samples), lengths (batch,): real samples
    """
    speakers = len(segments[0].item.sources)
    batch = np.zeros((len(segments), 1 + speakers, samples), np.float32)
    for number, segment in enumerate(segments):
        for channel, path in enumerate((segment.item.mixture, *segment.item.sources)):
            batch[number, channel, : segment.length] = read_audio(
                path, segment.start, segment.length
            )
    batch = torch.from_numpy(batch)
    lengths = torch.tensor([segment.length for segment in segments])
    return batch[:, 0].contiguous(), batch[:, 1:].contiguous(), lengths


def segments_of(item, length, stride):
    """Segments of `length` samples every `stride` samples until the item's end is covered: the
    last may be shorter, as is the only one of an item shorter than a segment."""
    end = max(1, item.length - max(0, length - stride))
    return [
        Segment(item, start, min(length, item.length - start)) for start in range(0, end, stride)
    ]


class TrainingBatches:
    """The training segments of `items`, in batches; the last batch may be smaller.

    length, stride: in samples. `len()` is the number of batches in an epoch.
    """

    def __init__(self, items, length, stride, batch_size, seed):
        self.segments = [segment for item in items for segment in segments_of(item, length, stride)]
        self.length = length
        self.batch_size = batch_size
        self.seed = seed

    def __len__(self):
        return -(-len(self.segments) // self.batch_size)

    def order(self, epoch):
        """The segments' order in an epoch: a function of the seed and the epoch alone."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.segments))

    def epoch(self, epoch):
        """Yield the batches of `load`, each read while its predecessor is in use."""
        order = self.order(epoch)
        batches = [
            [self.segments[index] for index in order[first : first + self.batch_size]]
            for first in range(0, len(order), self.batch_size)
        ]
        with ThreadPoolExecutor(1) as reader:
            pending = reader.submit(load, batches[0], self.length)
            for upcoming in [*batches[1:], None]:
                ready = pending.result()
                if upcoming is not None:
                    pending = reader.submit(load, upcoming, self.length)
                yield ready
