"""How this package runs TensorFlow: with few messages, reproducibly, and without taking all memory
of a GPU."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf
from spleeter.utils.logging import configure_logger

from contract import libraries
from contract.errors import InputError
from contract.hardware import no_gpus_warning, processors, reserved_gpus, unusable_gpus
from spleeter_mod.libraries import REMEDY, TENSORFLOW

# What CUDA's libraries say when a GPU has no memory left for them.
OUT_OF_MEMORY = ("CUDA_ERROR_OUT_OF_MEMORY", "_STATUS_ALLOC_FAILED")


def configure() -> tf.compat.v1.ConfigProto:
    """Sets up the process, and returns the configuration of its sessions.

    Raises:
        InputError: TensorFlow cannot use the GPUs that are reserved for this run.
    """
    _check_gpus()
    configure_logger(verbose=False)
    # Spleeter would log every chunk of audio. Its errors are exceptions as well.
    logging.getLogger("spleeter").setLevel(logging.CRITICAL)
    session_config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    session_config.gpu_options.allow_growth = True
    return session_config


def _check_gpus() -> None:
    """Checks that TensorFlow finds the GPUs that are reserved for this run, if there are any.

    Raises:
        InputError: it does not.
    """
    reserved = reserved_gpus()
    seen = len(tf.config.list_physical_devices("GPU"))
    if seen >= reserved:
        return
    if not libraries.has_driver():
        if is_chief():
            print(no_gpus_warning(libraries.driver()), file=sys.stderr, flush=True)
        return
    reason = f"TensorFlow {tf.__version__} finds {seen} of {reserved}"
    if missing := libraries.errors(TENSORFLOW, REMEDY):
        where, problem, remedy = missing[0].args
        raise unusable_gpus(f"{reason}, and {where} {problem}", remedy)
    raise unusable_gpus(reason)


def be_deterministic() -> None:
    """Makes the same seed give the same weights, on a CPU; it cannot be undone."""
    if not tf.config.list_physical_devices("GPU"):
        # On a GPU, batch normalisation with fixed statistics has no deterministic gradient, so that
        # TensorFlow would refuse to train.
        tf.config.experimental.enable_op_determinism()


def strategy(batch_size: int) -> tf.distribute.Strategy | None:
    """Returns how a batch is distributed over devices.

    It is distributed over the workers that the environment variable TF_CONFIG names, or else over
    the GPUs of this machine that TensorFlow sees.

    Args:
        batch_size: in segments.

    Returns:
        The strategy; None if there is a single device.

    Raises:
        InputError: the devices do not divide the batch evenly.
    """
    if workers():
        # Outside a graph, the strategy would start a server on the port of that of the Estimator.
        with tf.Graph().as_default():
            multi_worker = tf.distribute.MultiWorkerMirroredStrategy()
        _check_divides(batch_size, multi_worker.num_replicas_in_sync, "devices of all workers")
        return multi_worker
    gpus = gpu_names()
    if len(gpus) < 2:
        return None
    _check_divides(batch_size, len(gpus), "GPUs of this training (runtime.gpus)")
    return tf.distribute.MirroredStrategy(gpus)


def _check_divides(batch_size: int, devices: int, words: str) -> None:
    """Checks that devices divide a batch evenly.

    Raises:
        InputError: they do not.
    """
    if batch_size % devices:
        expected = f"a multiple of {devices}, the {words}"
        raise InputError.mismatch("spleeter.batch_size", batch_size, expected)


def workers() -> int:
    """Returns the number of processes that TF_CONFIG names to train together; 0 without it."""
    cluster = _cluster()
    return sum(cluster.num_tasks(job) for job in cluster.jobs)


def is_chief() -> bool:
    """Returns whether this process is the one that writes.

    That is the chief that TF_CONFIG names, or its first worker if it names no chief, or a process
    that trains alone.
    """
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "chief" in _cluster().jobs:
        return resolver.task_type == "chief"
    return not resolver.task_id


def _cluster() -> tf.train.ClusterSpec:
    return tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()


def gpu_names() -> list[str]:
    """Returns the names of this machine's GPUs in TensorFlow, as in `GPU:0`."""
    return [f"GPU:{k}" for k, _ in enumerate(tf.config.list_logical_devices("GPU"))]


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turns an error of TensorFlow about a full disk or memory into one for the user.

    Args:
        folder: the folder that TensorFlow writes to, for the error.

    Raises:
        OSError: the disk of `folder` is full.
        InputError: the memory does not suffice.
    """
    try:
        yield
    except tf.errors.OpError as error:
        text = str(error)
        of_cuda = any(words in text for words in OUT_OF_MEMORY)
        if not (of_cuda or isinstance(error, tf.errors.ResourceExhaustedError)):
            raise
        if "No space left on device" in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(folder)) from error
        device = "GPU" if of_cuda or "GPU" in text else "machine"
        problem = f"the network and its batch do not fit into the memory of this {device}"
        raise InputError("spleeter", problem, "reduce spleeter.batch_size or spleeter.T") from error


def devices(distribution: tf.distribute.Strategy | None) -> int:
    """Returns the number of devices that a batch is distributed over.

    Args:
        distribution: as `strategy` returns it.
    """
    return distribution.num_replicas_in_sync if distribution else 1


def hardware(count: int) -> str:
    """Describes the devices of a training, as in `2 x NVIDIA H100 80GB HBM3`.

    Args:
        count: the number of devices that train together, each like the first one of this machine.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return f"{count} x {details.get('device_name', 'GPU')}"
    return processors()
