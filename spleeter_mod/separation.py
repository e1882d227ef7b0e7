"""Separating songs of any length in bounded memory.

The U-Net sees T frames at a time and nothing beyond them, and an inverse STFT adds up what its
frames contribute. So a song can be cut at multiples of T frames, each block separated by itself
and the overlaps of their waveforms added: the result is that of separating it at once.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import tensorflow as tf
from tensorflow.signal import hann_window, inverse_stft, stft

from spleeter_mod.model import SpecBuilder
from spleeter_mod.settings import CHANNELS

# At least so many go through the network at once.
FRAMES = 512


class Separator:
    """A trained network, ready to separate."""

    def __init__(self, params: dict, model: Path, session_config: tf.compat.v1.ConfigProto):
        """
        Args:
            params: Spleeter's configuration.
            model: the folder of its checkpoint.
            session_config: of TensorFlow.
        """
        self._length, self._step = params["frame_length"], params["frame_step"]
        self._frames = -(-FRAMES // params["T"]) * params["T"]
        with tf.Graph().as_default() as graph, tf.keras.backend.learning_phase_scope(0):
            samples = (self._frames - 1) * self._step + self._length
            self._block = tf.compat.v1.placeholder(tf.float32, (samples, CHANNELS))
            self._estimates = self._separate(params)
            self._session = tf.compat.v1.Session(graph=graph, config=session_config)
            saver = tf.compat.v1.train.Saver()
            saver.restore(self._session, tf.train.latest_checkpoint(str(model)))

    def _separate(self, params):
        """Spleeter's masks on the STFT of a block, and back."""
        spectrum = stft(
            tf.transpose(self._block), self._length, self._step, window_fn=_window
        )  # (channels, frames, bins)
        features = {f"{params['mix_name']}_stft": tf.transpose(spectrum, (1, 2, 0))}
        builder = SpecBuilder(features, params)
        return {
            stem: builder.WINDOW_COMPENSATION_FACTOR
            * tf.transpose(
                inverse_stft(
                    tf.transpose(masked, (2, 0, 1)), self._length, self._step, window_fn=_window
                )
            )
            for stem, masked in builder.masked_stfts.items()
        }

    def separate(self, mixture: soundfile.SoundFile) -> Iterator[dict[str, np.ndarray]]:
        """Yields the estimates of the song piece by piece, by stem, (samples, channels) each.

        The pieces follow each other and are together as long as the song.
        """
        hop = self._frames * self._step
        overlap = self._length - self._step
        # Spleeter begins one frame before the song, in silence.
        before = self._length
        left = mixture.frames
        block = np.zeros(self._block.shape, np.float32)
        filled = before
        carried = {stem: np.zeros((overlap, CHANNELS), np.float32) for stem in self._estimates}
        while left:
            read = mixture.read(len(block) - filled, dtype="float32", always_2d=True)
            block[filled : filled + len(read)] = read
            block[filled + len(read) :] = 0
            estimates = self._session.run(self._estimates, {self._block: block})
            start, stop = before, min(hop, before + left)
            for stem, estimate in estimates.items():
                estimate[:overlap] += carried[stem]
                carried[stem] = estimate[hop:]
            yield {stem: estimate[start:stop] for stem, estimate in estimates.items()}
            left -= stop - start
            before = 0
            block[:overlap] = block[hop:]
            filled = overlap


def _window(frame_length, dtype):
    return hann_window(frame_length, periodic=True, dtype=dtype)
