"""Stock Spleeter, as it trains with `spleeter train`, for benchmarks that compare ours with it.

Its own functions and its own musdb.json do the work. Only the clock is added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import spleeter.__main__
import spleeter.dataset
import tensorflow as tf
from spleeter.audio.ffmpeg import FFMPEGProcessAudioAdapter
from spleeter.utils.configuration import load_configuration

from contract.layout import list_file

ADAPTER = f"{FFMPEGProcessAudioAdapter.__module__}.{FFMPEGProcessAudioAdapter.__name__}"


def configuration(root: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Returns Spleeter's musdb.json with other paths.

    Args:
        root: the folder of the lists train.csv and valid.csv.
        out: the folder for all that is written.
        changes: other values.
    """
    return {
        **load_configuration("spleeter:musdb"),
        "train_csv": str(root / list_file("train")),
        "validation_csv": str(root / list_file("valid")),
        "model_dir": str(out / "stock_model"),
        "training_cache": str(out / "stock_cache" / "training"),
        "validation_cache": str(out / "stock_cache" / "validation"),
        **changes,
    }


def stored_segments(params: dict[str, Any], root: Path) -> tf.data.Dataset:
    """Returns the training pipeline up to the cache, without the shuffling and repetition after it.

    One pass over it fills the cache.

    Args:
        params: Spleeter's configuration.
        root: the folder of the songs.
    """
    stock = spleeter.dataset.DatasetBuilder
    cached: list[tf.data.Dataset] = []

    class Builder(stock):
        def cache(self, *args: Any) -> tf.data.Dataset:
            cached.append(super().cache(*args))
            return cached[0]

    with mock.patch.object(spleeter.dataset, "DatasetBuilder", Builder):
        spleeter.dataset.get_training_dataset(params, FFMPEGProcessAudioAdapter(), str(root))
    return cached[0]


def train(params: dict[str, Any], root: Path, path: Path) -> None:
    """Trains with Spleeter's command.

    Args:
        params: Spleeter's configuration.
        root: the folder of the songs.
        path: the file to which the configuration is written for the command.
    """
    path.write_text(json.dumps(params))
    spleeter.__main__.train(
        adapter=ADAPTER, data=str(root), params_filename=str(path), verbose=False
    )


class Clock(tf.compat.v1.train.SessionRunHook):
    """A hook that notes when each optimizer step ends."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def after_run(
        self,
        run_context: tf.compat.v1.train.SessionRunContext,
        run_values: tf.compat.v1.train.SessionRunValues,
    ) -> None:
        """Notes the end of a step."""
        self._ends.append(perf_counter())

    @property
    def seconds(self) -> list[float]:
        """The seconds from the end of each step to the end of the next."""
        return [end - start for start, end in zip(self._ends, self._ends[1:], strict=False)]


@contextmanager
def clocked() -> Iterator[Clock]:
    """Yields a clock that is one of the hooks of a training in the block.

    Both `spleeter train` and ours call `Estimator.train`, which is patched.
    """
    clock, original = Clock(), tf.estimator.Estimator.train

    def train(*args: Any, hooks: Any = (), **options: Any) -> Any:
        return original(*args, hooks=[*hooks, clock], **options)

    with mock.patch.object(tf.estimator.Estimator, "train", train):
        yield clock
