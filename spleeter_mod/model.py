"""Spleeter's network with a training operation of our own.

Spleeter's U-Net calls its Keras layers without the argument `training`. In the graph of an
Estimator they therefore follow Keras' learning phase, which nobody sets, and which is then "not
training". In stock Spleeter as here, batch normalisation keeps its initial statistics (mean 0,
variance 1; its scale and shift are trained), and dropout is the identity. A training step therefore
draws no random numbers, and a batch has the same loss in training and in validation.

Here the learning phase is set before the graph is built, so that the graph has no conditionals,
which it would otherwise have in 72 places.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from spleeter.model import EstimatorSpecBuilder

from spleeter_mod.clipping import clip
from spleeter_mod.optimizers import make_optimizer

ModeKeys = tf.estimator.ModeKeys

# The tensors that `hooks.StepLog` reads after every step, by the columns of steps.csv.
WATCHED = {
    "loss": "watched/loss:0",
    "learning_rate": "watched/learning_rate:0",
    "gradient_norm": "watched/gradient_norm:0",
}

# The collection of the placeholders for the learning rate of the next step, one on each device.
# `hooks.Validation` feeds them.
LEARNING_RATES = "learning_rates"

# The collection of the placeholders that say whether SIGTERM has asked a process to end, 0 or 1,
# one on each device; and the tensor that is not 0 if it has asked any of them.
REQUESTS = "requests"
ANY_REQUEST = "any_request:0"


def _learning_rate() -> tf.Tensor:
    """Returns the placeholder for the learning rate, a float64 scalar."""
    rate = tf.compat.v1.placeholder(tf.float64, (), "learning_rate")
    tf.compat.v1.add_to_collection(LEARNING_RATES, rate)
    request = tf.compat.v1.placeholder_with_default(tf.zeros((), tf.float64), (), "request")
    tf.compat.v1.add_to_collection(REQUESTS, request)
    replicas = tf.distribute.get_replica_context()
    if replicas.num_replicas_in_sync > 1:
        # Workers that validate on different devices could compute different rates for a plateau.
        # The same exchange makes all of them end after the same step, so that it costs nothing.
        both = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, tf.stack([rate, request]))
        rate, request = tf.unstack(both)
    tf.identity(request, ANY_REQUEST.removesuffix(":0"))
    return rate


class SpecBuilder(EstimatorSpecBuilder):
    """Spleeter's builder of graphs, with the optimizer and the clipping that `params` name."""

    def _build_optimizer(self) -> tf.compat.v1.train.Optimizer:
        self._rate = _learning_rate()
        step = tf.compat.v1.train.get_global_step()
        rate = tf.cast(self._rate, tf.float32)
        return make_optimizer(self._params["optimizer"], rate, step)

    def build_train_model(self, labels: dict[str, tf.Tensor]) -> tf.estimator.EstimatorSpec:
        """Builds the graph of a training step.

        Args:
            labels: the magnitudes `<stem>_spectrogram` of each stem, (batch, T, F, channels).
        """
        loss, _ = self._build_loss(labels)
        optimizer = self._build_optimizer()
        # Spleeter's U-Net does not use the normalisation of the last level of its encoder, whose
        # weights therefore have no gradient.
        pairs = [pair for pair in optimizer.compute_gradients(loss) if pair[0] is not None]
        gradients, weights = zip(*pairs, strict=True)
        replicas = tf.distribute.get_replica_context()
        count = replicas.num_replicas_in_sync
        if count > 1:
            # TensorFlow has divided the gradients of every replica by the number of replicas, and
            # adds them up when they are applied. Clipping needs the sum, so it is made here, and
            # divided again below. Without `stop_gradient`, TensorFlow would try to differentiate
            # through the sum, and would not find the variables of the other replicas.
            gradients = [tf.stop_gradient(gradient) for gradient in gradients]
            gradients = replicas.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            loss = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, tf.stop_gradient(loss))
        norm = tf.linalg.global_norm(gradients)
        clipped = clip(gradients, weights, norm, self._params["clipping"], self._params["steps"])
        if count > 1:
            clipped = [gradient / count for gradient in clipped]
        train_op = optimizer.apply_gradients(
            zip(clipped, weights, strict=True), tf.compat.v1.train.get_global_step()
        )
        with tf.name_scope("watched"):
            tf.identity(loss, "loss")
            tf.identity(self._rate, "learning_rate")
            tf.identity(norm, "gradient_norm")
        return tf.estimator.EstimatorSpec(ModeKeys.TRAIN, loss=loss, train_op=train_op)


# With a strategy, AutoGraph would rewrite this code, which does not need it.
@tf.autograph.experimental.do_not_convert
def model_fn(
    features: dict[str, tf.Tensor],
    labels: dict[str, tf.Tensor],
    mode: str,
    params: dict[str, Any],
) -> tf.estimator.EstimatorSpec:
    """Builds the graph of one mode, for `tf.estimator`.

    Args:
        features: the magnitudes `<mix_name>_spectrogram`, (batch, T, F, channels).
        labels: the magnitudes `<stem>_spectrogram` of each stem, (batch, T, F, channels).
        mode: `ModeKeys.TRAIN` or `ModeKeys.EVAL`.
        params: Spleeter's configuration, with the groups `optimizer` and `clipping` and the number
            of `steps`.
    """
    builder = SpecBuilder(features, params)
    with tf.keras.backend.learning_phase_scope(0):
        if mode == ModeKeys.EVAL:
            return builder.build_evaluation_model(labels)
        return builder.build_train_model(labels)
