"""The loss on the validation list, in a graph of its own that stays open between validations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from spleeter_mod.model import ModeKeys, model_fn


class Validator:
    """The network as it is evaluated, with weights brought over from the training.

    Attributes:
        names: of the variables it needs.
    """

    def __init__(
        self,
        params: dict,
        dataset: Callable[[], tf.data.Dataset],
        session_config: tf.compat.v1.ConfigProto,
        best: Path,
    ):
        """
        Args:
            params: as `model_fn` takes them.
            dataset: makes the batches of the validation list.
            session_config: of TensorFlow.
            best: the folder that `save` writes to.
        """
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
            # Two, so that the one before is there until an epochs.csv knows of the next.
            self._saver = tf.compat.v1.train.Saver(max_to_keep=2, save_relative_paths=True)
        self._session = tf.compat.v1.Session(graph=graph, config=session_config)

    @property
    def names(self) -> list[str]:
        return list(self._placeholders)

    def load(self, weights: dict[str, np.ndarray]) -> None:
        """Take the values of the variables, by name."""
        feed = {self._placeholders[name]: value for name, value in weights.items()}
        self._session.run(self._load, feed)

    def loss(self) -> float:
        """The mean over the songs of the list."""
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
        """Write the weights to `checkpoint_at(best, step)`."""
        self._saver.save(
            self._session, str(checkpoint_at(self._best, step)), write_meta_graph=False
        )


def checkpoint_at(best: Path, step: int) -> Path:
    """The prefix of a checkpoint's files."""
    return best / f"model-{step}"
