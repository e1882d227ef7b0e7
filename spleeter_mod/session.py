"""Starting TensorFlow as this package wants it: quiet, reproducible, a modest guest on a GPU."""

import errno
import logging
import os
import re
from contextlib import contextmanager

import tensorflow as tf
from spleeter.utils.logging import configure_logger

from spleeter_mod.errors import InputError

UNREADABLE = "cannot be read"  # what `data.Instrument` says of a file, before its name


def configure() -> tf.compat.v1.ConfigProto:
    """Set up the process; returns the configuration of its sessions."""
    configure_logger(verbose=False)
    # Else it reports every chunk of audio; what goes wrong reaches us as an exception.
    logging.getLogger("spleeter").setLevel(logging.CRITICAL)
    if not tf.config.list_physical_devices("GPU"):
        # On a GPU, batch normalisation with fixed statistics has no deterministic gradient,
        # and TensorFlow would refuse to train.
        tf.config.experimental.enable_op_determinism()
    session_config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    session_config.gpu_options.allow_growth = True
    return session_config


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
    except tf.errors.InvalidArgumentError as error:
        unreadable = re.search(rf"\[{UNREADABLE}\] \[(.*)\]", str(error))
        if not unreadable:
            raise
        expected = "the audio it had when training began"
        raise InputError(unreadable[1], "a file that cannot be read", expected) from error
