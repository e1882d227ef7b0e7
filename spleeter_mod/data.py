"""The batches of a run, in the order in which stock Spleeter has them with the same seed.

Spleeter shuffles with buffers, whose state is lost when a run is interrupted. Here the same
operations shuffle the numbers of the segments before training begins. A run that resumes at a step
therefore gets the same batches as an uninterrupted one, and each worker gets its part of the same
batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from contract.sources import CHANNELS
from spleeter_mod.cache import Segments
from spleeter_mod.settings import Settings

BATCHES_AHEAD = 2

# The sizes of the shuffle buffers in `spleeter.dataset.DatasetBuilder.build`.
SEGMENTS_SHUFFLED = 200_000
CROPS_SHUFFLED = 256
DRAWN_AT_ONCE = 2**16  # how many draws are made at a time


@dataclass(frozen=True)
class Share:
    """The share of every batch that one of several workers gets.

    It consists of one piece for each device of the worker. In a batch, the shares of the workers
    follow each other.

    Attributes:
        batch_size: how many segments a piece has.
        devices: the devices of this worker.
        worker: the number of this worker, from 0.
        workers: the number of workers.
    """

    batch_size: int
    devices: int = 1
    worker: int = 0
    workers: int = 1

    def draws(self, piece: int) -> range:
        """Returns the numbers of the draws in a piece.

        Args:
            piece: the number of the piece among those of this worker in all steps, from 0.
        """
        step, device = divmod(piece, self.devices)
        before = (step * self.workers + self.worker) * self.devices + device
        return range(before * self.batch_size, (before + 1) * self.batch_size)


def draws(settings: Settings, segments: Segments) -> np.ndarray:
    """Draws the crops of all batches of the run, in stock Spleeter's order.

    Spleeter shuffles the segments, takes a crop of each, and shuffles the crops through a buffer.
    Its four threads draw the crops from one generator, so that two crops change places when one
    thread overtakes another. Here the crops are drawn one after the other.

    Args:
        settings: the run.
        segments: the segments of the songs to train on.

    Returns:
        For each crop, the number of its segment and its first frame, (steps × batch_size, 2).
    """
    seed, count = settings.seed, settings.steps * settings.batch_size

    def crop(number: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
        # Spleeter crops by `tf.image.random_crop`, which draws a number for each of three axes.
        drawn = tf.random.uniform([3], maxval=tf.int32.max, dtype=tf.int32, seed=seed)
        return tf.stack([number, drawn[0] % room])

    numbers = spleeters_order(segments.songs, segments.per_song)
    rooms = [segments.frames(number) - settings.T + 1 for number in numbers]
    # The GPU is left out, because its memory is for the training.
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0})
    with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
        tf.compat.v1.set_random_seed(seed)
        order = tf.data.Dataset.from_tensor_slices(
            (np.array(numbers, np.int32), np.array(rooms, np.int32))
        )
        order = order.shuffle(SEGMENTS_SHUFFLED, seed=seed)
        if settings.same_passes:
            order = order.cache()
        order = order.repeat().map(crop).shuffle(CROPS_SHUFFLED, seed=seed)
        batches = tf.compat.v1.data.make_initializable_iterator(
            order.take(count).batch(min(DRAWN_AT_ONCE, count))
        )
        following = batches.get_next()
        session.run(batches.initializer)
        parts = [session.run(following) for _ in range(-(-count // DRAWN_AT_ONCE))]
    return np.concatenate(parts)


def spleeters_order(songs: int, per_song: int) -> list[int]:
    """Returns the numbers of the segments in the order of Spleeter's list before it is shuffled.

    That is the last segment of every song, then the first of every song, then the second, and so
    on. The segments are numbered song by song.

    Args:
        songs: the number of songs.
        per_song: the number of segments of each song.
    """
    chunks = [per_song - 1, *range(per_song - 1)]
    return [song * per_song + chunk for chunk in chunks for song in range(songs)]


def training_dataset(
    settings: Settings, segments: Segments, drawn: np.ndarray, first_step: int, share: Share
) -> tf.data.Dataset:
    """Returns the batches to train on, without end.

    Args:
        settings: the run.
        segments: the segments of the songs to train on; those in `drawn` have been made.
        drawn: as `draws` returns them for the run, (steps × batch_size, 2).
        first_step: the number of steps that were taken already.
        share: this process's share of every batch.

    Returns:
        A dataset of (features, labels). Both are dictionaries of magnitude spectrograms,
        (batch, T, F, channels), by name: of the mixture, and of the stems.
    """

    def crops(piece: int) -> list[np.ndarray]:
        # Crops beyond the last step are read ahead, but not used.
        return [drawn[draw % len(drawn)] for draw in share.draws(piece)]

    pieces = tf.data.Dataset.range(first_step * share.devices, tf.int64.max)
    return _batches(settings, segments, pieces, crops, share.batch_size)


def validation_dataset(settings: Settings, segments: Segments) -> tf.data.Dataset:
    """Returns the batches to validate on: the middle T frames of every segment, once.

    Args:
        settings: the run.
        segments: the segments of the songs to validate on; all have been made.

    Returns:
        A dataset like that of `training_dataset`, of which the last batch may be smaller.
    """
    count, size = len(segments), settings.batch_size

    def crops(start: int) -> list[tuple[int, int]]:
        numbers = range(start, min(start + size, count))
        return [(number, (segments.frames(number) - settings.T) // 2) for number in numbers]

    return _batches(settings, segments, tf.data.Dataset.range(0, count, size), crops, None)


def _batches(
    settings: Settings,
    segments: Segments,
    numbers: tf.data.Dataset,
    crops: Callable[[int], Sequence[Sequence[int]]],
    size: int | None,
) -> tf.data.Dataset:
    """Returns one batch for every number.

    Args:
        settings: the run.
        segments: the segments of the songs.
        numbers: one for each batch.
        crops: returns the crops of the batch with a number: for each, its segment and first frame.
        size: the size of the batches, in crops; None if they differ.
    """
    instruments = settings.mix_name, *settings.stems
    shape = settings.T, settings.F, CHANNELS

    def read(number: np.ndarray) -> np.ndarray:
        batch_crops = crops(int(number))
        spectrograms = np.empty((len(instruments), len(batch_crops), *shape), np.float32)
        for place, (segment, first) in enumerate(batch_crops):
            segments.read(segment, first, spectrograms[:, place])
        return spectrograms

    @tf.autograph.experimental.do_not_convert
    def batch(number: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        spectrograms = tf.numpy_function(read, [number], tf.float32)
        spectrograms.set_shape((len(instruments), size, *shape))
        mixture, *stems = tf.unstack(spectrograms)
        labels = dict(zip(settings.stems, stems, strict=True))
        return (
            {f"{settings.mix_name}_spectrogram": mixture},
            {f"{stem}_spectrogram": spectrogram for stem, spectrogram in labels.items()},
        )

    options = tf.data.Options()
    options.deterministic = True
    batches = numbers.map(batch, num_parallel_calls=BATCHES_AHEAD).prefetch(BATCHES_AHEAD)
    return batches.with_options(options)
