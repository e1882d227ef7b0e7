"""Separation of songs of any length in bounded memory.

The U-Net sees T frames at a time and nothing beyond them, and an inverse STFT adds up the waveforms
of its frames. A song can therefore be cut at multiples of T frames. Each block is separated by
itself, and the waveforms are added where they overlap. The result is the same as that of separating
the whole song at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import tensorflow as tf
from tensorflow.signal import hann_window, inverse_stft, stft

from contract.sources import CHANNELS
from spleeter_mod.model import SpecBuilder

FRAMES = 512  # the fewest frames of a block, unless a frame has more steps


class Separator:
    """A trained network, ready to separate.

    Args:
        params: Spleeter's configuration of the model.
        model: the folder of the model.
        session_config: the configuration of TensorFlow's session.
    """

    def __init__(
        self, params: dict[str, Any], model: Path, session_config: tf.compat.v1.ConfigProto
    ) -> None:
        self._length, self._step = params["frame_length"], params["frame_step"]
        # A block must move on by a whole frame, so that only neighbouring blocks overlap.
        least, T = max(FRAMES, math.ceil(self._length / self._step)), params["T"]
        self._frames = math.ceil(least / T) * T
        with tf.Graph().as_default() as graph, tf.keras.backend.learning_phase_scope(0):
            samples = (self._frames - 1) * self._step + self._length
            self._block = tf.compat.v1.placeholder(tf.float32, (samples, CHANNELS))
            self._estimates = self._separate(params)
            self._session = tf.compat.v1.Session(graph=graph, config=session_config)
            saver = tf.compat.v1.train.Saver()
            saver.restore(self._session, tf.train.latest_checkpoint(str(model)))

    def _separate(self, params: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Applies Spleeter's masks to the STFT of a block.

        Returns:
            The waveform of each stem, (samples, channels).
        """
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
        """Yields the estimates of a song piece by piece.

        The pieces follow each other, and together are as long as the song.

        Args:
            mixture: the song, opened at its start.

        Yields:
            The waveform of each stem, (samples, channels), float32.
        """
        hop = self._frames * self._step
        overlap = self._length - self._step
        # Spleeter puts one frame of silence before the song.
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


def _window(frame_length: int, dtype: tf.DType) -> tf.Tensor:
    return hann_window(frame_length, periodic=True, dtype=dtype)
