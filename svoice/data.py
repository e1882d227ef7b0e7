"""The lists of mixtures, their audio, and the segments that training draws from them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from contract.errors import InputError
from contract.lists import read_rows
from contract.sources import LENGTH, SAMPLE_RATE, speech_list_columns

AHEAD = 3  # batches that are read before they are needed

# Mixtures (batch, samples), sources (batch, C, samples), and the number of each example's samples
# without its padding (batch,).
Batch = tuple[Tensor, Tensor, Tensor]

_MAKE_AUDIO = "make the mixtures again, or correct the list"


@dataclass(frozen=True)
class Item:
    """A row of a list.

    Attributes:
        mixture: the mixture's file.
        sources: the file of each source.
        length: the samples of each of these files.
    """

    mixture: str
    sources: tuple[str, ...]
    length: int


@dataclass(frozen=True)
class Segment:
    """A part of an item: `length` samples from sample `start` on."""

    item: Item
    start: int
    length: int


def read_list(path: str | Path, speakers: int, sample_rate: int) -> list[Item]:
    """Reads a CSV list of mixtures, and checks all audio files in it.

    Args:
        path: the list.
        speakers: the number of sources that each mixture must have.
        sample_rate: that all files must have, in Hz.

    Returns:
        The items, in the order of the list.

    Raises:
        InputError: the list, or an audio file, is missing or not as it should be.
    """
    columns = speech_list_columns(speakers)
    items = []
    remedy = f"make the list for speech.speakers = {speakers}"
    for line, row in read_rows(Path(path), columns, remedy):
        where = f"{path}, line {line}"
        *files, length, rate = (row[column] for column in columns)
        for name, value in ((LENGTH, length), (SAMPLE_RATE, rate)):
            if not (value.isascii() and value.isdigit() and int(value) > 0):
                key = f"{where}, {name}"
                raise InputError.mismatch(key, repr(value), "a positive whole number")
        if int(rate) != sample_rate:
            raise InputError.mismatch(
                f"{where}, sample_rate", f"{rate} Hz", f"speech.sample_rate = {sample_rate} Hz"
            )
        for file in files:
            check_audio(file, int(length), sample_rate, where)
        items.append(Item(files[0], tuple(files[1:]), int(length)))
    return items


def check_audio(path: str, length: int, sample_rate: int, row: str) -> None:
    """Checks that an audio file is as its list says.

    Args:
        path: the file, which must be mono and without NaN or infinite samples.
        length: the samples that it must have.
        sample_rate: that it must have, in Hz.
        row: the row of the list that names the file, for errors.

    Raises:
        InputError: the file is missing, unreadable, or different.
    """
    if not os.path.isfile(path):
        raise InputError(path, f"there is no such file, but {row} names it", _MAKE_AUDIO)
    if os.path.getsize(path) == 0:
        raise InputError(path, f"is empty, but has {length} samples in {row}", _MAKE_AUDIO)
    with opened(path) as file:
        if file.channels != 1:
            raise InputError(path, f"has {file.channels} channels", "convert it to mono")
        if file.samplerate != sample_rate:
            raise InputError(
                path,
                f"has {file.samplerate} Hz, but speech.sample_rate is {sample_rate} Hz",
                "resample it, or set speech.sample_rate",
            )
        if file.frames != length:
            problem = f"has {file.frames} samples, but {length} in {row}"
            raise InputError(path, problem, _MAKE_AUDIO)
        # A PCM file of the stated size holds its samples, and all of them are finite. Any other
        # file has to be read to know.
        if not (file.format in ("WAV", "WAVEX") and file.subtype.startswith("PCM_")):
            for block in file.blocks(blocksize=1 << 20, dtype="float32"):
                if not np.isfinite(block).all():
                    raise InputError(path, "has NaN or infinite samples", _MAKE_AUDIO)


@contextmanager
def opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Opens an audio file to read from in the block.

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be opened, or the block cannot read from it.
    """
    try:
        # The name is passed as bytes because a name that is not UTF-8 cannot be passed as text.
        with soundfile.SoundFile(os.fsencode(path)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        problem = f"cannot be read as audio ({error.error_string.rstrip('.')})"
        raise InputError(path, problem, "replace it with a WAV file") from None


def read_audio(path: str, start: int, length: int) -> np.ndarray:
    """Reads a part of a mono file.

    Args:
        path: the file.
        start: the first sample to read.
        length: the number of samples to read.

    Returns:
        The samples, (length,), float32.

    Raises:
        InputError: the file cannot be read, or ends too early.
    """
    with opened(path) as file:
        file.seek(start)
        samples = file.read(length, dtype="float32")
    if len(samples) != length:
        problem = f"has {start + len(samples)} samples, but {start + length} are needed"
        raise InputError(path, problem, _MAKE_AUDIO)
    return samples


def load(segments: Sequence[Segment], samples: int) -> Batch:
    """Reads segments into a batch.

    Args:
        segments: at least one.
        samples: the length of the batch; shorter segments are padded with zeros at the end.

    Returns:
        The mixtures (batch, samples), the sources (batch, C, samples), both float32, and the
        segments' own lengths (batch,).

    Raises:
        InputError: a file cannot be read.
    """
    speakers = len(segments[0].item.sources)
    tracks = np.zeros((len(segments), 1 + speakers, samples), np.float32)
    for number, segment in enumerate(segments):
        for channel, path in enumerate((segment.item.mixture, *segment.item.sources)):
            tracks[number, channel, : segment.length] = read_audio(
                path, segment.start, segment.length
            )
    batch = torch.from_numpy(tracks)
    lengths = torch.tensor([segment.length for segment in segments])
    return batch[:, 0].contiguous(), batch[:, 1:].contiguous(), lengths


def segments_of(item: Item, length: int, stride: int) -> list[Segment]:
    """Cuts an item into segments.

    The segments go on until they cover the item. The last one may be shorter, as is the only one of
    an item that is shorter than a segment.

    Args:
        item: the item.
        length: the length of a segment, in samples.
        stride: from the start of one segment to the start of the next, in samples.
    """
    end = max(1, item.length - max(0, length - stride))
    return [
        Segment(item, start, min(length, item.length - start)) for start in range(0, end, stride)
    ]


class TrainingBatches:
    """The training segments in batches, of which the last one of an epoch may be smaller.

    `len()` is the number of batches in an epoch.

    Args:
        items: the mixtures.
        length: the length of a segment, in samples.
        stride: from the start of one segment to the start of the next, in samples.
        batch_size: in segments, over all processes.
        seed: the seed of the segments' order.
        rank: the number of this process, from 0.
        world_size: the number of processes that share each batch.
        pinned: whether the batches lie in pinned memory, from which a GPU copies by itself.

    Attributes:
        segments: all segments, in the order of the items.
    """

    def __init__(
        self,
        items: Sequence[Item],
        length: int,
        stride: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        pinned: bool = False,
    ) -> None:
        self.segments = [segment for item in items for segment in segments_of(item, length, stride)]
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.pinned = pinned

    def __len__(self) -> int:
        return -(-len(self.segments) // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Returns the order of the segments in an epoch, which the seed and the epoch determine.

        Args:
            epoch: the number of the epoch, from 1.

        Returns:
            The segments' numbers, (segments,).
        """
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.segments))

    def weight(self, number: int) -> float:
        """Returns the part of a batch's examples that this process has.

        Args:
            number: the number of the batch in its epoch, from 0.
        """
        size = min(self.batch_size, len(self.segments) - number * self.batch_size)
        return len(range(self.rank, size, self.world_size)) / size

    def read(self, order: np.ndarray, number: int) -> Batch:
        """Reads this process's share of a batch.

        Args:
            order: the order of the epoch.
            number: the number of the batch in the epoch, from 0.

        Returns:
            The share as `load` returns it. A process whose weight is 0 gets the batch's first
            example, so that it has something to compute with.
        """
        first = number * self.batch_size
        batch = [self.segments[index] for index in order[first : first + self.batch_size]]
        share = load(batch[self.rank :: self.world_size] or batch[:1], self.length)
        return tuple(tensor.pin_memory() for tensor in share) if self.pinned else share

    def epoch(self, epoch: int, batches_done: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, and reads up to `AHEAD` of them in advance.

        Args:
            epoch: the number of the epoch, from 1.
            batches_done: the number of batches to leave out at the start.
        """
        order = self.order(epoch)
        pending: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1) as reader:
            for number in range(batches_done, len(self)):
                pending.append(reader.submit(self.read, order, number))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
