"""Spleeter's input pipeline, with an order that is a pure function of the seed and the step."""

from pathlib import Path

import tensorflow as tf
from spleeter.dataset import DatasetBuilder, InstrumentDatasetBuilder

from spleeter_mod.adapter import SoundfileAudioAdapter
from spleeter_mod.session import UNREADABLE
from spleeter_mod.settings import Settings

# Segments held in memory to be shuffled; one is 9 MB at Spleeter's own sizes.
SHUFFLE_BUFFER = 64


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
        waveform = sample["waveform"]
        needed = (self._parent._T - 1) * self._parent._frame_step + self._parent._frame_length
        missing = tf.maximum(needed - tf.shape(waveform)[0], 0)
        padded = tf.pad(waveform, [[0, missing], [0, 0]])
        return super().compute_spectrogram(dict(sample, waveform=padded))


class SegmentDataset(DatasetBuilder):
    """Fixed chunks of the songs of a list."""

    def __init__(self, settings: Settings):
        super().__init__(
            settings.spleeter(),
            SoundfileAudioAdapter(),
            audio_path=str(Path.cwd()),
            random_seed=settings.seed,
            chunk_duration=settings.chunk_seconds,
        )
        self._instrument_builders = [Instrument(self, name) for name in self._instruments]

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
    sees what an uninterrupted one would have seen.
    """

    def __init__(self, settings: Settings, segments: int, first_draw: int):
        super().__init__(settings)
        self._segments = segments
        self._first_draw = first_draw

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


def training_dataset(
    settings: Settings, path: Path, cache: Path, tracks: int, first_step: int
) -> tf.data.Dataset:
    """Batches of (features, labels) from step `first_step` on, without end.

    Both are dictionaries of magnitude spectrograms, (batch, T, F, channels).

    Args:
        settings: the run.
        path: the list of songs.
        cache: where the segments are stored, as a prefix of file names.
        tracks: how many songs the list has.
        first_step: how many steps were taken already.
    """
    segments = tracks * settings.chunks_per_song
    builder = DrawDataset(settings, segments, first_step * settings.batch_size)
    return _finish(
        builder.build(
            str(path),
            batch_size=settings.batch_size,
            shuffle=False,  # `DrawDataset.cache` does
            infinite_generator=False,  # as above
            cache_directory=str(cache),
            num_parallel_calls=tf.data.AUTOTUNE,
            n_chunks_per_song=settings.chunks_per_song,
        )
    )


def validation_dataset(settings: Settings, path: Path, cache: Path) -> tf.data.Dataset:
    """One pass over the middles of the songs, as `training_dataset`."""
    return _finish(
        SegmentDataset(settings).build(
            str(path),
            batch_size=settings.batch_size,
            shuffle=False,
            random_time_crop=False,
            infinite_generator=False,
            cache_directory=str(cache),
            num_parallel_calls=tf.data.AUTOTUNE,
            n_chunks_per_song=1,
        )
    )


def _finish(dataset):
    options = tf.data.Options()
    options.deterministic = True
    return dataset.prefetch(1).with_options(options)
