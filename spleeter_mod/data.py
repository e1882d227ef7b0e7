"""The batches of a run, in the order in which stock Spleeter would have them with the same seed.

Spleeter shuffles with buffers, whose state a resumed run would not have. Here the same operations
shuffle the segments' numbers before training begins, so that a run that resumes at a step sees what
an uninterrupted one would have seen, and every worker its part of the same batches.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from spleeter_mod.cache import Segments
from spleeter_mod.settings import CHANNELS, Settings

BATCHES_AHEAD = 2

# Spleeter's shuffle buffers: of the segments, and of the crops (`spleeter.dataset.DatasetBuilder
# .build`).
SEGMENTS_SHUFFLED = 200_000
CROPS_SHUFFLED = 256
DRAWN_AT_ONCE = 2**16


@dataclass(frozen=True)
class Share:
    """What one of several workers takes of every batch: the part that is its own, in pieces of
    `batch_size`, one for each of its devices. The workers' parts of a batch follow each other."""

    batch_size: int
    devices: int = 1
    worker: int = 0
    workers: int = 1

    def draws(self, piece: int) -> range:
        """The numbers of the draws in piece number `piece` of this worker's, from 0."""
        step, device = divmod(piece, self.devices)
        before = (step * self.workers + self.worker) * self.devices + device
        return range(before * self.batch_size, (before + 1) * self.batch_size)


def draws(settings: Settings, segments: Segments) -> np.ndarray:
    """What every batch of the run takes, in stock Spleeter's order.

    Spleeter shuffles the segments, takes a crop of each, and shuffles the crops through a buffer.
    It crops in four threads that draw from one generator, so that its crops may change places when
    a thread overtakes another; here they are drawn one after the other.

    Args:
        settings: the run.
        segments: of the songs to train on.

    Returns:
        (steps × batch_size, 2): the number of a segment, and the first frame of T in it.
    """
    seed, count = settings.seed, settings.steps * settings.batch_size

    def crop(number, room):
        # `tf.image.random_crop`, by which Spleeter crops, draws a number for each of three axes.
        drawn = tf.random.uniform([3], maxval=tf.int32.max, dtype=tf.int32, seed=seed)
        return tf.stack([number, drawn[0] % room])

    numbers = spleeters_order(segments.songs, segments.per_song)
    rooms = [segments.frames(number) - settings.T + 1 for number in numbers]
    # Without the GPU, whose memory the training will share out.
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
    """The numbers of segments, which count song by song, in the order that Spleeter's list of them
    has before it is shuffled: the last of every song, then the first of every song, the second, …
    """
    chunks = [per_song - 1, *range(per_song - 1)]
    return [song * per_song + chunk for chunk in chunks for song in range(songs)]


def training_dataset(
    settings: Settings, segments: Segments, drawn: np.ndarray, first_step: int, share: Share
) -> tf.data.Dataset:
    """Batches of (features, labels) from step `first_step` on, without end.

    Both are dictionaries of magnitude spectrograms, (batch, T, F, channels).

    Args:
        settings: the run.
        segments: of the songs to train on.
        drawn: the run's `draws`, whose segments are there.
        first_step: how many steps were taken already.
        share: this process's part of every batch.
    """

    def crops(piece):
        # Beyond the last step, what is read ahead is not used.
        return [drawn[draw % len(drawn)] for draw in share.draws(piece)]

    pieces = tf.data.Dataset.range(first_step * share.devices, tf.int64.max)
    return _batches(settings, segments, pieces, crops, share.batch_size)


def validation_dataset(settings: Settings, segments: Segments) -> tf.data.Dataset:
    """One pass over the middles of the segments, as `training_dataset`.

    Args:
        settings: the run.
        segments: of the songs to validate on, which are there.
    """
    count, size = len(segments), settings.batch_size

    def crops(start):
        numbers = range(start, min(start + size, count))
        return [(number, (segments.frames(number) - settings.T) // 2) for number in numbers]

    return _batches(settings, segments, tf.data.Dataset.range(0, count, size), crops, None)


def _batches(
    settings: Settings,
    segments: Segments,
    numbers: tf.data.Dataset,
    crops: Callable[[int], list],
    size: int | None,
):
    """One batch for every number, of the `size` crops (segment, first frame) that it stands for."""
    instruments = settings.mix_name, *settings.stems
    shape = settings.T, settings.F, CHANNELS

    def read(number):
        chosen = crops(int(number))
        spectrograms = np.empty((len(instruments), len(chosen), *shape), np.float32)
        for k, (segment, first) in enumerate(chosen):
            segments.read(segment, first, spectrograms[:, k])
        return spectrograms

    @tf.autograph.experimental.do_not_convert
    def batch(number):
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
    made = numbers.map(batch, num_parallel_calls=BATCHES_AHEAD).prefetch(BATCHES_AHEAD)
    return made.with_options(options)
