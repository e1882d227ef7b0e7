"""Spleeter's input pipeline, with an order that is a pure function of the seed and the step."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view
from spleeter.dataset import DatasetBuilder, InstrumentDatasetBuilder

from spleeter_mod.adapter import SoundfileAudioAdapter
from spleeter_mod.session import UNREADABLE
from spleeter_mod.settings import Settings
from spleeter_mod.tracks import SongList

# Segments held in memory to be shuffled; one is 9 MB at Spleeter's own sizes.
SHUFFLE_BUFFER = 64
FRAMES_AT_ONCE = 64  # of an STFT: what a processor's cache holds


@dataclass(frozen=True)
class Share:
    """What one of several workers takes of every batch: the part that is its own, in pieces of
    `batch_size`, one for each of its devices."""

    batch_size: int
    devices: int = 1
    worker: int = 0
    workers: int = 1

    def holds(self, draw: tf.Tensor) -> tf.Tensor:
        """Whether draw number `draw` is in it; the workers' parts of a batch follow each other."""
        part = draw // (self.batch_size * self.devices) % self.workers
        return tf.equal(part, self.worker)  # in the Estimator's graph == compares identities


class Instrument(InstrumentDatasetBuilder):
    """One instrument's steps of the pipeline."""

    def load_waveform(self, sample: dict) -> dict:
        """Fails where stock Spleeter goes on without the song."""
        loaded = super().load_waveform(sample)
        path = sample[f"{self._instrument}_path"]
        readable = tf.debugging.Assert(~loaded["waveform_error"], [UNREADABLE, path])
        with tf.control_dependencies([readable]):
            loaded["waveform"] = tf.identity(loaded["waveform"])
        return loaded

    def compute_spectrogram(self, sample: dict) -> dict:
        """The last frame may hang over the end of a short song, into silence, as in
        separation: T steps of the STFT make T frames."""
        parent = self._parent
        spectrogram = tf.numpy_function(
            lambda waveform: magnitudes(
                waveform, parent._frame_length, parent._frame_step, parent._F, parent._T
            ),
            [sample["waveform"]],
            tf.float32,
        )
        spectrogram.set_shape((None, parent._F, parent._n_channels))
        return dict(sample, **{self._spectrogram_key: spectrogram})


def magnitudes(
    waveform: np.ndarray, frame_length: int, frame_step: int, bins: int, at_least: int
) -> np.ndarray:
    """The magnitude spectrogram that Spleeter computes: STFT with a periodic Hann window. In NumPy,
    because TensorFlow's takes seven times as long on a CPU.

    Args:
        waveform: (samples, channels).
        frame_length: samples.
        frame_step: samples.
        bins: how many frequencies to keep, from the lowest.
        at_least: frames; a shorter waveform is followed by silence.

    Returns:
        (frames, bins, channels), 32-bit floats.
    """
    needed = (at_least - 1) * frame_step + frame_length
    samples = np.zeros((waveform.shape[1], max(needed, len(waveform))), np.float32)
    samples[:, : len(waveform)] = waveform.T
    window = scipy.signal.get_window("hann", frame_length).astype(np.float32)
    frames = sliding_window_view(samples, frame_length, axis=1)[:, ::frame_step]
    spectrogram = np.empty((frames.shape[1], bins, len(samples)), np.float32)
    for channel, cut in enumerate(frames):
        for first in range(0, len(cut), FRAMES_AT_ONCE):
            block = slice(first, first + FRAMES_AT_ONCE)
            spectrum = scipy.fft.rfft(cut[block] * window)
            np.abs(spectrum[:, :bins], out=spectrogram[block, :, channel])
    return spectrogram


class SegmentDataset(DatasetBuilder):
    """Fixed chunks of the songs of a list.

    Attributes:
        stored: after `build`, the segments as they are stored, before they are cropped.
    """

    def __init__(self, settings: Settings, root: Path):
        """
        Args:
            settings: the run.
            root: the folder that the list's paths are relative to.
        """
        super().__init__(
            settings.spleeter(),
            SoundfileAudioAdapter(),
            audio_path=str(root.absolute()),
            random_seed=settings.seed,
            chunk_duration=settings.chunk_seconds,
        )
        self._instrument_builders = [Instrument(self, name) for name in self._instruments]

    def expand_path(self, sample: dict) -> dict:
        """Absolute paths in a list stay what they are."""
        expanded = super().expand_path(sample)
        for name in self._instruments:
            path = sample[f"{name}_path"]
            absolute = tf.strings.regex_full_match(path, "/.*")
            expanded[f"{name}_path"] = tf.where(absolute, path, expanded[f"{name}_path"])
        return expanded

    def cache(self, dataset: tf.data.Dataset, cache: str, wait: bool) -> tf.data.Dataset:
        """Where Spleeter stores the segments."""
        self.stored = super().cache(dataset, cache, wait)
        return self.stored

    def compute_segments(self, dataset: tf.data.Dataset, n_chunks_per_song: int):
        """A list of whole seconds is read as integers, which Spleeter's arithmetic refuses."""
        as_float = dataset.map(
            lambda sample: dict(sample, duration=tf.cast(sample["duration"], tf.float64))
        )
        return super().compute_segments(as_float, n_chunks_per_song)


class DrawDataset(SegmentDataset):
    """Endless random crops of the segments, from draw number `first_draw` on.

    Draw d belongs to pass d // segments over the list. Its order within the pass and the place
    of its crop come from (seed, pass) and (seed, d) alone, so that a run that resumes at a draw
    sees what an uninterrupted one would have seen, and every worker its part of the same batches.
    """

    def __init__(self, settings: Settings, songs: SongList, first_draw: int, share: Share):
        super().__init__(settings, songs.root)
        self._segments = len(songs.tracks) * settings.chunks_per_song
        self._first_draw = first_draw
        self._share = share

    def cache(self, dataset: tf.data.Dataset, cache: str, wait: bool) -> tf.data.Dataset:
        """Between storing the segments and cropping them: put them in the order of the draws."""
        stored = super().cache(dataset, cache, wait)

        def one_pass(number):
            seed = tf.random.stateless_uniform(
                (), seed=[self._random_seed, number], minval=0, maxval=2**31, dtype=tf.int64
            )
            return stored.shuffle(SHUFFLE_BUFFER, seed, reshuffle_each_iteration=False)

        first_pass, skipped = divmod(self._first_draw, self._segments)
        passes = tf.data.Dataset.range(first_pass, tf.int64.max)
        draws = passes.flat_map(one_pass).skip(skipped).enumerate(start=self._first_draw)
        if self._share.workers > 1:
            draws = draws.filter(lambda draw, sample: self._share.holds(draw))
        return draws.map(lambda draw, sample: dict(sample, draw=draw))

    def random_time_crop(self, sample: dict) -> dict:
        """T frames, the same ones of every instrument."""
        keys = [f"{instrument}_spectrogram" for instrument in self._instruments]
        start = tf.random.stateless_uniform(
            (),
            seed=[self._random_seed, sample["draw"]],
            minval=0,
            maxval=tf.shape(sample[keys[0]])[0] - self._T + 1,
            dtype=tf.int32,
        )
        return dict(sample, **{key: sample[key][start : start + self._T] for key in keys})


def stored_segments(
    settings: Settings, songs: SongList, chunks_per_song: int, prefix: Path
) -> tf.data.Dataset:
    """The segments of a list as they are before they are cropped. One pass over them stores them in
    files whose names begin with `prefix`, if they are not there."""
    builder = SegmentDataset(settings, songs.root)
    builder.build(
        str(songs.path),
        shuffle=False,
        infinite_generator=False,
        cache_directory=str(prefix),
        num_parallel_calls=tf.data.AUTOTUNE,
        n_chunks_per_song=chunks_per_song,
    )
    return _deterministic(builder.stored)


def training_dataset(
    settings: Settings, songs: SongList, cache: Path, first_step: int, share: Share
) -> tf.data.Dataset:
    """Batches of (features, labels) from step `first_step` on, without end.

    Both are dictionaries of magnitude spectrograms, (batch, T, F, channels).

    Args:
        settings: the run.
        songs: the list.
        cache: the prefix of the stored segments (`cache.segments`).
        first_step: how many steps were taken already.
        share: this process's part of every batch.
    """
    builder = DrawDataset(settings, songs, first_step * settings.batch_size, share)
    dataset = builder.build(
        str(songs.path),
        batch_size=share.batch_size,
        shuffle=False,  # `DrawDataset.cache` does
        infinite_generator=False,  # as above
        cache_directory=str(cache),
        num_parallel_calls=tf.data.AUTOTUNE,
        n_chunks_per_song=settings.chunks_per_song,
    )
    return _deterministic(dataset.prefetch(tf.data.AUTOTUNE))


def validation_dataset(settings: Settings, songs: SongList, cache: Path) -> tf.data.Dataset:
    """One pass over the middles of the songs, as `training_dataset`."""
    dataset = SegmentDataset(settings, songs.root).build(
        str(songs.path),
        batch_size=settings.batch_size,
        shuffle=False,
        random_time_crop=False,
        infinite_generator=False,
        cache_directory=str(cache),
        num_parallel_calls=tf.data.AUTOTUNE,
        n_chunks_per_song=1,
    )
    return _deterministic(dataset.prefetch(1))


def _deterministic(dataset):
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options)
