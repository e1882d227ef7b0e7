"""The learning rate of each step: base × warm-up × factor.

Steps are counted from 0, and an epoch is the steps between two validations.
"""

import math

import tensorflow as tf

# The graph's collection of placeholders, one on each device, of what the plateau schedule has made
# of the rate so far; fed by `hooks.Validation`.
PLATEAU_FACTORS = "plateau_factors"


def learning_rate(
    base: float, schedule: dict, step: tf.Tensor, steps_per_epoch: int, total_steps: int
) -> tf.Tensor:
    """The learning rate of step `step`, a float64 scalar of the graph.

    Args:
        base: the optimizer's own rate.
        schedule: its `name`, `warmup_steps` and the rest of its group in conf/schedule.
        step: how many steps were taken before this one, an integer scalar.
        steps_per_epoch: steps between two validations.
        total_steps: of the run.
    """
    k = tf.cast(step, tf.float64)
    factor = _FACTORS[schedule["name"]](schedule, k, float(steps_per_epoch), float(total_steps))
    if schedule["warmup_steps"]:
        factor *= tf.minimum((k + 1) / schedule["warmup_steps"], 1)
    return base * factor


def _constant(schedule, k, steps_per_epoch, total_steps):
    return tf.ones((), tf.float64)


def _step(schedule, k, steps_per_epoch, total_steps):
    times = tf.floor(tf.floor(k / steps_per_epoch) / schedule["epochs"])
    return tf.pow(tf.constant(schedule["factor"], tf.float64), times)


def _exponential(schedule, k, steps_per_epoch, total_steps):
    return tf.pow(tf.constant(schedule["factor"], tf.float64), k / steps_per_epoch)


def _cosine(schedule, k, steps_per_epoch, total_steps):
    floor = schedule["floor"]
    return floor + (1 - floor) * (1 + tf.cos(math.pi * k / total_steps)) / 2


def _plateau(schedule, k, steps_per_epoch, total_steps):
    factor = tf.compat.v1.placeholder_with_default(tf.ones((), tf.float64), ())
    tf.compat.v1.add_to_collection(PLATEAU_FACTORS, factor)
    replicas = tf.distribute.get_replica_context()
    if replicas.num_replicas_in_sync > 1:
        # Workers that validate on unlike devices might not come to the same one.
        factor = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, factor)
    return factor


_FACTORS = {
    "constant": _constant,
    "step": _step,
    "exponential": _exponential,
    "cosine": _cosine,
    "plateau": _plateau,
}


class Plateau:
    """PyTorch's ReduceLROnPlateau (mode min, relative threshold, no cooldown): `factor` is what
    the validation losses seen so far make of the learning rate."""

    THRESHOLD = 1e-4

    def __init__(self, patience: int, factor: float):
        self._patience, self._reduction = patience, factor
        self._best = math.inf
        self._bad_epochs = 0
        self.factor = 1.0

    def update(self, valid_loss: float) -> None:
        """Take in the loss of one validation."""
        if valid_loss < self._best * (1 - self.THRESHOLD):
            self._best = valid_loss
            self._bad_epochs = 0
        else:
            self._bad_epochs += 1
        if self._bad_epochs > self._patience:
            self.factor *= self._reduction
            self._bad_epochs = 0
