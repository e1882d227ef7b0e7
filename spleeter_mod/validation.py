"""The validation loss, in a graph of its own that stays open between validations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from spleeter_mod.model import ModeKeys, model_fn


class Validator:
    """The network in evaluation, with weights from the training.

    Args:
        params: as `model_fn` takes them.
        dataset: makes the batches of the validation list.
        session_config: the configuration of TensorFlow's session.
        best: the folder that `save` writes to.
    """

    def __init__(
        self,
        params: dict[str, Any],
        dataset: Callable[[], tf.data.Dataset],
        session_config: tf.compat.v1.ConfigProto,
        best: Path,
    ) -> None:
        self._best = best
        with tf.Graph().as_default() as graph:
            tf.compat.v1.train.create_global_step()
            self._iterator = tf.compat.v1.data.make_initializable_iterator(dataset())
            features, labels = self._iterator.get_next()
            spec = model_fn(features, labels, ModeKeys.EVAL, params)
            size = tf.shape(features[f"{params['mix_name']}_spectrogram"])[0]
            self._loss_and_size = spec.loss, size
            variables = tf.compat.v1.global_variables()
            self._placeholders = {
                v.op.name: tf.compat.v1.placeholder(v.dtype.base_dtype, v.shape) for v in variables
            }
            self._load = [v.assign(self._placeholders[v.op.name]).op for v in variables]
            # Two are kept, so that the last one is there until epochs.csv has the row of the next.
            self._saver = tf.compat.v1.train.Saver(max_to_keep=2, save_relative_paths=True)
        self._session = tf.compat.v1.Session(graph=graph, config=session_config)

    @property
    def names(self) -> list[str]:
        """The names of the variables that it needs."""
        return list(self._placeholders)

    def load(self, weights: dict[str, np.ndarray]) -> None:
        """Sets the variables.

        Args:
            weights: the value of each variable, by name.
        """
        feed = {self._placeholders[name]: value for name, value in weights.items()}
        self._session.run(self._load, feed)

    def loss(self) -> float:
        """Computes the mean loss over the songs of the list."""
        self._session.run(self._iterator.initializer)
        batches = []
        while True:
            try:
                batches.append(self._session.run(self._loss_and_size))
            except tf.errors.OutOfRangeError:
                break
        losses, sizes = zip(*batches, strict=True)
        return float(np.average(np.array(losses, np.float64), weights=sizes))

    def save(self, step: int) -> None:
        """Writes the weights to `checkpoint_at(best, step)`.

        Args:
            step: the number of steps that made them.
        """
        self._saver.save(
            self._session, str(checkpoint_at(self._best, step)), write_meta_graph=False
        )


def checkpoint_at(best: Path, step: int) -> Path:
    """Returns the prefix of the files of a checkpoint.

    Args:
        best: the folder.
        step: the step after which the checkpoint was saved.
    """
    return best / f"model-{step}"
