"""The lists of mixtures, their audio, and the segments that training draws from them."""

import csv
import hashlib
import io
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from svoice.errors import InputError

AHEAD = 3  # batches that are read before they are needed


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


def digest(path):
    """SHA-256 of a list, by which another list of the same name is known for another."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


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
        # As bytes: a name that is no UTF-8 cannot be handed over as text.
        with soundfile.SoundFile(os.fsencode(path)) as file:
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


def wav(samples, rate):
    """The bytes of a 32-bit float WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, subtype="FLOAT", format="WAV")
    return buffer.getvalue()


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

    length, stride: in samples; rank, world: this process among how many, which share each batch;
    pinned: in memory from which a GPU copies by itself. `len()` is the number of batches in an
    epoch.
    """

    def __init__(self, items, length, stride, batch_size, seed, rank=0, world=1, pinned=False):
        self.segments = [segment for item in items for segment in segments_of(item, length, stride)]
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.world = rank, world
        self.pinned = pinned

    def __len__(self):
        return -(-len(self.segments) // self.batch_size)

    def order(self, epoch):
        """The segments' order in an epoch: a function of the seed and the epoch alone."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.segments))

    def weight(self, number):
        """What part of the examples of an epoch's batch `number`, from 0, this process has."""
        size = min(self.batch_size, len(self.segments) - number * self.batch_size)
        return len(range(self.rank, size, self.world)) / size

    def read(self, order, number):
        """This process's share of a batch, as `load` returns it; the batch's first example where
        its weight is 0."""
        first = number * self.batch_size
        batch = [self.segments[index] for index in order[first : first + self.batch_size]]
        share = load(batch[self.rank :: self.world] or batch[:1], self.length)
        return tuple(tensor.pin_memory() for tensor in share) if self.pinned else share

    def epoch(self, epoch, done=0):
        """Yield the batches of an epoch but for the first `done`, each read while one of the
        AHEAD before it is in use."""
        order = self.order(epoch)
        pending = deque()
        with ThreadPoolExecutor(1) as reader:
            for number in range(done, len(self)):
                pending.append(reader.submit(self.read, order, number))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
