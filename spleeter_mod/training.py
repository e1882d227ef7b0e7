"""A training run, from the last checkpoint to the outputs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from contract import termination
from contract.events import Events, Records, events_file, size_of
from contract.files import empty, json_text, replacing, write
from contract.layout import (
    EPOCHS,
    RECORDS,
    SPLEETER_MODEL,
    SPLEETER_RESULTS,
    STEPS,
    TENSORBOARD,
)
from contract.menu import SPLEETER
from contract.records import EPOCH_COLUMNS, STEP_COLUMNS, Table, best, summary
from contract.termination import Terminated
from spleeter_mod import cache, hooks, session
from spleeter_mod.data import Share, draws, training_dataset, validation_dataset
from spleeter_mod.model import model_fn
from spleeter_mod.settings import Settings
from spleeter_mod.tracks import SongList
from spleeter_mod.validation import Validator, checkpoint_at

EVENTS = events_file(SPLEETER)
FILES = (*RECORDS, TENSORBOARD)  # what is written beside the model


@dataclasses.dataclass(frozen=True)
class Places:
    """The songs and the folders of a run.

    Attributes:
        train: the songs to train on.
        valid: the songs to validate on.
        scratch: the folder of all that is unfinished.
        caches: the folders of the caches of the songs to train on and to validate on, as
            `cache_places` returns them.
        model: the folder for the model.
        results: the folder for the records, which may be the same as `model`.
    """

    train: SongList
    valid: SongList
    scratch: Path
    caches: tuple[Path, Path]
    model: Path = SPLEETER_MODEL
    results: Path = SPLEETER_RESULTS


def cache_places(
    settings: Settings, train: SongList, valid: SongList, folders: tuple[Path, Path]
) -> tuple[Path, Path]:
    """Returns the folders of a run's caches, see `cache.place`. All songs are read for it.

    Args:
        settings: the run.
        train: the songs to train on.
        valid: the songs to validate on.
        folders: those of all caches of songs to train on, and of songs to validate on.

    Raises:
        OSError: a file cannot be read.
    """
    train_folder, valid_folder = folders
    return (
        cache.place(settings, train, cache.to_train_on(settings), train_folder),
        cache.place(settings, valid, cache.to_validate_on(settings), valid_folder),
    )


def train(settings: Settings, places: Places, verbose: bool = False) -> None:
    """Trains, writes the outputs and empties the scratch folder.

    If TF_CONFIG names several workers, each of them calls this with the same `places`, in a file
    system that they share, and the chief writes.

    Args:
        settings: the run.
        places: its songs and folders.
        verbose: whether to print every row of steps.csv.

    Raises:
        InputError: a song was changed meanwhile, or the memory does not suffice.
        OSError: the disk is full.
        Terminated: SIGTERM has ended the training early, after the step or the validation in which
            it came, and with a checkpoint.
    """
    checkpoints = places.scratch / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    config = _run_config(settings, checkpoints)
    session.be_deterministic()
    latest = tf.train.latest_checkpoint(str(checkpoints))
    step = int(tf.train.load_variable(latest, "global_step")) if latest else 0
    if step:
        print(f"resuming after step {step} of {settings.steps}", flush=True)
    with _records(settings, places.scratch, step) as records, session.explained(places.scratch):
        if step < settings.steps:
            _train_on(settings, places, records, step, config, verbose)
        if not session.is_chief():
            return
    steps, epochs = records.steps.rows, records.epochs.rows
    best_checkpoint = checkpoint_at(places.scratch / "best", best(epochs)["step"])
    parameters = _count_parameters(best_checkpoint)
    hardware = session.hardware(session.devices(config.train_distribute))
    optimizer_bytes = int((places.scratch / hooks.OPTIMIZER_BYTES).read_text())
    report = summary(steps, epochs, parameters, hardware, optimizer_bytes)
    with termination.postponed():  # the training is complete: SIGTERM ends nothing early any more
        _write_outputs(settings, places, best_checkpoint, report)
        # The checkpoints go first and at once, so that no new start resumes without its records.
        checkpoints.rename(places.scratch / "finished")
        empty(places.scratch)


@contextlib.contextmanager
def _records(settings: Settings, scratch: Path, step: int) -> Iterator[Records]:
    """Yields the records of this process, cut to what they held after `step` steps."""
    taken = range(1, step + 1)
    with (
        _records_folder(scratch) as folder,
        Table(folder / STEPS, STEP_COLUMNS, sum(map(settings.logs, taken))) as steps,
        Table(folder / EPOCHS, EPOCH_COLUMNS, sum(map(settings.validates, taken))) as epochs,
        contextlib.ExitStack() as opened,
    ):
        events = None
        if session.is_chief():
            path = folder / EVENTS
            size = size_of(path, len(steps.rows) + len(epochs.rows))
            events = opened.enter_context(Events(path, size))
        yield Records(folder, steps, epochs, events)


@contextlib.contextmanager
def _records_folder(scratch: Path) -> Iterator[Path]:
    """Yields the folder for the records of this process.

    Workers other than the chief keep the same records in a copy of their own, so that all workers
    make the same decisions.
    """
    if session.is_chief():
        yield scratch
        return
    with tempfile.TemporaryDirectory() as copy:
        for name in (STEPS, EPOCHS):
            if (scratch / name).exists():
                shutil.copyfile(scratch / name, Path(copy) / name)
        yield Path(copy)


def _run_config(settings: Settings, checkpoints: Path) -> tf.estimator.RunConfig:
    session_config = session.configure()
    if not session.workers() and not tf.config.list_physical_devices("GPU"):
        # On a CPU, rewriting the graph takes seconds at the start and makes no step faster.
        session_config.graph_options.rewrite_options.disable_meta_optimizer = True
    return tf.estimator.RunConfig(
        model_dir=str(checkpoints),
        tf_random_seed=settings.seed,
        session_config=session_config,
        save_summary_steps=None,
        save_checkpoints_secs=None,  # `hooks.Validation` saves
        log_step_count_steps=None,
        keep_checkpoint_max=2,
        train_distribute=session.strategy(settings.batch_size),
    )


def _train_on(
    settings: Settings,
    places: Places,
    records: Records,
    first_step: int,
    config: tf.estimator.RunConfig,
    verbose: bool,
) -> None:
    """Trains from the last checkpoint, which is that of `first_step`, to the end.

    Raises:
        Terminated: SIGTERM has ended the training early.
    """
    train_place, valid_place = places.caches
    segments = cache.Segments(settings, places.train, cache.to_train_on(settings), train_place)
    drawn = draws(settings, segments)
    segments.fill(np.unique(drawn[:, 0]))
    valid_segments = cache.Segments(
        settings, places.valid, cache.to_validate_on(settings), valid_place
    )
    valid_segments.fill(range(len(valid_segments)))

    def batches(input_context: tf.distribute.InputContext | None = None) -> tf.data.Dataset:
        share = _share(settings.batch_size, input_context)
        return training_dataset(settings, segments, drawn, first_step, share)

    params = dataclasses.asdict(settings) | settings.spleeter()
    validation_batches = partial(validation_dataset, settings, valid_segments)
    best_folder = records.folder / "best"
    validator = Validator(params, validation_batches, config.session_config, best_folder)
    progress = hooks.StepLog(settings, records, first_step, verbose)
    # Workers can save only together, so that each of them has a folder to save to.
    checkpoints = records.folder / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    validation = hooks.Validation(settings, progress, records, validator, checkpoints)
    estimator = _estimator(params, config, [progress, validation])
    with termination.postponed():
        if session.workers():
            with tf.Graph().as_default():  # in which the strategy was made, see `session.strategy`
                tf.estimator.train_and_evaluate(
                    estimator,
                    tf.estimator.TrainSpec(batches, max_steps=settings.steps),
                    tf.estimator.EvalSpec(batches),  # is required, and used by no worker here
                )
        else:
            estimator.train(batches, max_steps=settings.steps)
    if validation.terminated:
        raise Terminated


def _estimator(
    params: dict[str, Any],
    config: tf.estimator.RunConfig,
    training_hooks: list[tf.compat.v1.train.SessionRunHook],
) -> tf.estimator.Estimator:
    """Returns an Estimator of the network, which runs these hooks in every worker."""

    def model(
        features: dict[str, tf.Tensor],
        labels: dict[str, tf.Tensor],
        mode: str,
        params: dict[str, Any],
    ) -> tf.estimator.EstimatorSpec:
        spec = model_fn(features, labels, mode, params)
        return spec._replace(
            # The Estimator would run hooks that are not part of the model in the chief alone.
            training_hooks=training_hooks,
            # The Estimator would stop at a loss of NaN before its row is in steps.csv.
            loss=tf.where(tf.math.is_finite(spec.loss), spec.loss, tf.zeros_like(spec.loss)),
        )

    return tf.estimator.Estimator(model, params=params, config=config)


def _share(batch_size: int, context: tf.distribute.InputContext | None) -> Share:
    """Returns this process's share of the batches; `context` is None on a single device."""
    if context is None:
        return Share(batch_size)
    replicas, workers = context.num_replicas_in_sync, context.num_input_pipelines
    return Share(
        batch_size=batch_size // replicas,
        devices=replicas // workers,
        worker=context.input_pipeline_id,
        workers=workers,
    )


def _count_parameters(checkpoint: Path) -> int:
    """Counts the trainable parameters in a checkpoint that holds the network and nothing else."""
    fixed = ("global_step", "moving_mean", "moving_variance")
    variables = tf.train.list_variables(str(checkpoint))
    return sum(math.prod(shape) for name, shape in variables if not name.endswith(fixed))


def _write_outputs(
    settings: Settings, places: Places, checkpoint: Path, report: dict[str, Any]
) -> None:
    """Writes all outputs or none.

    Args:
        settings: the run.
        places: its folders.
        checkpoint: the prefix of the files of the best weights.
        report: the content of train.json.
    """
    in_model = places.results == places.model
    record_files = () if in_model else tuple(places.results / name for name in FILES)
    with replacing(places.model, *record_files) as (model, *records):
        model.mkdir()
        for path in checkpoint.parent.glob(f"{checkpoint.name}.*"):
            write(model / path.name.replace(checkpoint.name, "model", 1), path.read_bytes())
        write(model / "checkpoint", 'model_checkpoint_path: "model"\n')
        write(model / "config.json", json_text(settings.spleeter()))
        # Without this file Spleeter would try to download a model of this name.
        write(model / ".probe", "OK")
        steps, epochs, train_json, events = records or (model / name for name in FILES)
        write(steps, (places.scratch / STEPS).read_bytes())
        write(epochs, (places.scratch / EPOCHS).read_bytes())
        write(train_json, json_text(report))
        events.mkdir()
        write(events / Path(EVENTS).name, (places.scratch / EVENTS).read_bytes())
