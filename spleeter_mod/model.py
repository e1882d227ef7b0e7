"""Spleeter's network with our training operation.

Spleeter's U-Net calls its Keras layers without saying whether it trains, so in the graph of an
Estimator they follow Keras' learning phase, which nobody sets and which is then "not training":
in stock Spleeter as here, batch normalisation keeps the statistics it starts with (mean 0,
variance 1; its scale and shift are trained) and dropout is the identity. We say so before the
graph is built, which spares it a conditional, two branches each, in 72 places. A training
step therefore draws no random numbers, and a batch has the same loss in training and validation.
"""

import tensorflow as tf
from spleeter.model import EstimatorSpecBuilder

from spleeter_mod.clipping import clip
from spleeter_mod.optimizers import build
from spleeter_mod.schedules import learning_rate

ModeKeys = tf.estimator.ModeKeys

# What `hooks.StepLog` reads of every step.
WATCHED = {
    "loss": "watched/loss:0",
    "learning_rate": "watched/learning_rate:0",
    "gradient_norm": "watched/gradient_norm:0",
}


class SpecBuilder(EstimatorSpecBuilder):
    """Spleeter's builder, trained with the optimizer, schedule and clipping that `params` name."""

    def _build_optimizer(self):
        step = tf.compat.v1.train.get_global_step()
        self._rate = learning_rate(
            self._params["optimizer"]["learning_rate"],
            self._params["schedule"],
            step,
            self._params["validate_every"],
            self._params["steps"],
        )
        return build(self._params["optimizer"], tf.cast(self._rate, tf.float32), step)

    def build_train_model(self, labels: dict) -> tf.estimator.EstimatorSpec:
        """Args:
        labels: `<stem>_spectrogram` magnitudes, (batch, T, F, channels) each.
        """
        loss, _ = self._build_loss(labels)
        optimizer = self._build_optimizer()
        # The last encoder level's normalisation leads nowhere in Spleeter's U-Net.
        pairs = [pair for pair in optimizer.compute_gradients(loss) if pair[0] is not None]
        gradients, weights = zip(*pairs, strict=True)
        replicas = tf.distribute.get_replica_context()
        count = replicas.num_replicas_in_sync
        if count > 1:
            # TensorFlow has divided every replica's gradients by their number. It would add them
            # up when they are applied; but the clipping has to see the sum. It would also look for
            # the way back through the sum, and not find the other replicas' variables.
            gradients = [tf.stop_gradient(gradient) for gradient in gradients]
            gradients = replicas.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            loss = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, tf.stop_gradient(loss))
        norm = tf.linalg.global_norm(gradients)
        clipped = clip(self._params["clipping"], gradients, weights, norm)
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


# A strategy would have AutoGraph rewrite this code, which needs no rewriting.
@tf.autograph.experimental.do_not_convert
def model_fn(features, labels, mode, params):
    """What `tf.estimator` calls to build the graph of one mode."""
    builder = SpecBuilder(features, params)
    with tf.keras.backend.learning_phase_scope(0):
        if mode == ModeKeys.EVAL:
            return builder.build_evaluation_model(labels)
        return builder.build_train_model(labels)
