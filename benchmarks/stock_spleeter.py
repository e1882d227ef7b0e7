"""Stock Spleeter, as a user has it who trains with `spleeter train`, for the benchmarks beside it.

Its own functions and its own musdb.json do the work; only what measures is put in between.
"""

import json
from contextlib import contextmanager
from time import perf_counter
from unittest import mock

import spleeter.__main__
import spleeter.dataset
import tensorflow as tf
from spleeter.audio.ffmpeg import FFMPEGProcessAudioAdapter
from spleeter.utils.configuration import load_configuration

ADAPTER = f"{FFMPEGProcessAudioAdapter.__module__}.{FFMPEGProcessAudioAdapter.__name__}"


def configuration(root, made, **changed):
    """Spleeter's musdb.json for the lists train.csv and valid.csv in the folder `root`; all that is
    written goes to the folder `made`."""
    return {
        **load_configuration("spleeter:musdb"),
        "train_csv": str(root / "train.csv"),
        "validation_csv": str(root / "valid.csv"),
        "model_dir": str(made / "stock_model"),
        "training_cache": str(made / "stock_cache" / "training"),
        "validation_cache": str(made / "stock_cache" / "validation"),
        **changed,
    }


def stored_segments(params, root):
    """Of the training pipeline the part up to what is cached: without the shuffling and the endless
    repetition that follow. → dataset; one pass over it fills the cache"""
    stock, caught = spleeter.dataset.DatasetBuilder, []

    class Builder(stock):
        def cache(self, *args):
            caught.append(super().cache(*args))
            return caught[0]

    with mock.patch.object(spleeter.dataset, "DatasetBuilder", Builder):
        spleeter.dataset.get_training_dataset(params, FFMPEGProcessAudioAdapter(), str(root))
    return caught[0]


def train(params, root, path):
    """Spleeter's command `train`, its configuration written to `path`."""
    path.write_text(json.dumps(params))
    spleeter.__main__.train(
        adapter=ADAPTER, data=str(root), params_filename=str(path), verbose=False
    )


class Clock(tf.compat.v1.train.SessionRunHook):
    """When each optimizer step ended, in seconds."""

    def __init__(self):
        self._ends = []

    def after_run(self, run_context, run_values):
        self._ends.append(perf_counter())

    @property
    def seconds(self):
        """From the end of each step to the end of the next, whatever happens in between."""
        return [end - start for start, end in zip(self._ends, self._ends[1:], strict=False)]


@contextmanager
def clocked():
    """Put a clock among the hooks of the training to come. `spleeter train` reaches
    `Estimator.train` with its `TrainSpec`'s hooks, ours directly."""
    clock, original = Clock(), tf.estimator.Estimator.train

    def train(*args, hooks=(), **options):
        return original(*args, hooks=[*hooks, clock], **options)

    with mock.patch.object(tf.estimator.Estimator, "train", train):
        yield clock
