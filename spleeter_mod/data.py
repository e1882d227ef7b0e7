"""The batches of a run, whose order is a pure function of the seed and the step.

Spleeter's own input pipeline shuffles with buffers, whose state a resumed run would not have. Here
every draw is computed from its number, so that a run that resumes at one sees what an uninterrupted
one would have seen, and every worker its part of the same batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf

from spleeter_mod.cache import Segments
from spleeter_mod.settings import CHANNELS, Settings

BATCHES_AHEAD = 2

_ORDER, _CROP = range(2)  # what is drawn, so that no two draws share their random numbers


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


def drawn(settings: Settings, segments: Segments, draw: int) -> tuple[int, int]:
    """What draw number `draw` takes: the number of a segment, and the first frame of T in it. In
    every pass over the segments each comes once."""
    number, position = divmod(draw, len(segments))
    segment = int(_one_pass(settings.seed, number, len(segments))[position])
    last = segments.frames(segment) - settings.T
    generator = np.random.default_rng([settings.seed, _CROP, draw])
    return segment, int(generator.integers(last, endpoint=True))


@lru_cache(maxsize=2)  # a batch may take from the end of one and from the beginning of the next
def _one_pass(seed, number, count):
    return np.random.default_rng([seed, _ORDER, number]).permutation(count)


def training_dataset(
    settings: Settings, segments: Segments, first_step: int, share: Share
) -> tf.data.Dataset:
    """Batches of (features, labels) from step `first_step` on, without end.

    Both are dictionaries of magnitude spectrograms, (batch, T, F, channels).

    Args:
        settings: the run.
        segments: of the songs to train on.
        first_step: how many steps were taken already.
        share: this process's part of every batch.
    """

    def crops(piece):
        return [drawn(settings, segments, draw) for draw in share.draws(piece)]

    pieces = tf.data.Dataset.range(first_step * share.devices, tf.int64.max)
    return _batches(settings, segments, pieces, crops, share.batch_size)


def validation_dataset(settings: Settings, segments: Segments) -> tf.data.Dataset:
    """One pass over the middles of the segments, as `training_dataset`.

    Args:
        settings: the run.
        segments: of the songs to validate on.
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
    crops: Callable[[int], list[tuple[int, int]]],
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
