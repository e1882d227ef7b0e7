"""Starting TensorFlow as this package wants it: quiet, reproducible, a modest guest on a GPU."""

import errno
import logging
import os
import platform
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf
from spleeter.utils.logging import configure_logger

from spleeter_mod.errors import InputError


def configure() -> tf.compat.v1.ConfigProto:
    """Set up the process; returns the configuration of its sessions."""
    configure_logger(verbose=False)
    # Else it reports every chunk of audio; what goes wrong reaches us as an exception.
    logging.getLogger("spleeter").setLevel(logging.CRITICAL)
    session_config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    session_config.gpu_options.allow_growth = True
    return session_config


def be_deterministic() -> None:
    """From here on the same seed gives the same weights."""
    if not tf.config.list_physical_devices("GPU"):
        # On a GPU, batch normalisation with fixed statistics has no deterministic gradient,
        # and TensorFlow would refuse to train.
        tf.config.experimental.enable_op_determinism()


def strategy(batch_size: int) -> tf.distribute.Strategy | None:
    """How a batch is spread over devices: over the workers that the environment variable TF_CONFIG
    names, else over as many of this machine's GPUs as divide it evenly. None: over nothing.

    Raises:
        InputError: the workers do not divide it evenly.
    """
    if workers():
        # Outside a graph it would start a server of its own, beside the Estimator's, on one port.
        with tf.Graph().as_default():
            made = tf.distribute.MultiWorkerMirroredStrategy()
        if batch_size % made.num_replicas_in_sync:
            raise InputError(
                "spleeter.batch_size",
                batch_size,
                f"a multiple of {made.num_replicas_in_sync}, the devices of all workers",
            )
        return made
    gpus = gpu_names()
    used = max((n for n in range(1, len(gpus) + 1) if batch_size % n == 0), default=0)
    return tf.distribute.MirroredStrategy(gpus[:used]) if used > 1 else None


def workers() -> int:
    """How many processes train together, as TF_CONFIG has it; 0 without one."""
    cluster = _cluster()
    return sum(cluster.num_tasks(job) for job in cluster.jobs)


def is_chief() -> bool:
    """Whether this process is the one that writes: the chief, where TF_CONFIG names none the first
    worker, and a process alone."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "chief" in _cluster().jobs:
        return resolver.task_type == "chief"
    return not resolver.task_id


def _cluster():
    return tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()


def gpu_names() -> list[str]:
    return [f"GPU:{k}" for k, _ in enumerate(tf.config.list_logical_devices("GPU"))]


@contextmanager
def explained(folder):
    """Turn TensorFlow's running out of disk, in `folder`, or of memory into errors of ours."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        if "No space left on device" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(folder)) from error
        raise InputError(
            "spleeter", "a network too large for this machine's memory", "smaller batch_size or T"
        ) from error


def hardware() -> str:
    """What this process trains on, as in `2 x NVIDIA H100 80GB HBM3`."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return f"{len(gpus)} x {details.get('device_name', 'GPU')}"
    return processors()


def processors() -> str:
    """This machine's processors, as in `2 x AMD EPYC`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"
