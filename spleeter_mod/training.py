"""One training run, from the scratch folder's last checkpoint to the outputs."""

import contextlib
import dataclasses
import json
import math
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from spleeter_mod import cache, hooks, session
from spleeter_mod.data import Share, draws, training_dataset, validation_dataset
from spleeter_mod.errors import InputError, naming
from spleeter_mod.files import empty, replacing
from spleeter_mod.logs import Log
from spleeter_mod.model import model_fn
from spleeter_mod.settings import LOGS, MODEL, RESULTS, Settings
from spleeter_mod.tracks import SongList
from spleeter_mod.validation import Validator, checkpoint_at


@dataclasses.dataclass(frozen=True)
class Work:
    """A run's input, and where what it makes belongs."""

    train: SongList
    valid: SongList
    scratch: Path  # of everything unfinished
    caches: tuple[Path, Path]  # `cache.place` of the songs to train on and to validate on
    model: Path = MODEL
    results: Path = RESULTS  # may be the same as `model`


def cache_places(
    settings: Settings, train: SongList, valid: SongList, folders: tuple[Path, Path]
) -> tuple[Path, Path]:
    """`Work.caches`, in the folders of all caches of songs to train on and to validate on. All
    songs are read for it.

    Raises:
        OSError: a file cannot be read.
    """
    train_folder, valid_folder = folders
    return (
        cache.place(settings, train, cache.to_train_on(settings), train_folder),
        cache.place(settings, valid, cache.to_validate_on(settings), valid_folder),
    )


def train(settings: Settings, work: Work, verbose: bool = False) -> None:
    """Train, write the outputs and empty the scratch folder.

    Where TF_CONFIG names several workers, each of them calls this with the same `work`, in a file
    system that they share; the chief writes.

    Args:
        settings: the run.
        work: its files.
        verbose: print every step.

    Raises:
        InputError: a file was changed meanwhile, or memory does not suffice.
        OSError: the disk is full.
    """
    checkpoints = work.scratch / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    config = _run_config(settings, checkpoints)
    session.be_deterministic()
    latest = tf.train.latest_checkpoint(str(checkpoints))
    step = int(tf.train.load_variable(latest, "global_step")) if latest else 0
    if step:
        print(f"resuming after step {step} of {settings.steps}", flush=True)
    with (
        _records(work.scratch) as records,
        Log(records / "steps.csv", hooks.STEP_COLUMNS, step) as steps,
        Log(records / "epochs.csv", hooks.EPOCH_COLUMNS, step) as epochs,
        session.explained(work.scratch),
    ):
        expected = sum(settings.logs(k) for k in range(1, step + 1))
        if len(steps.rows) != expected:
            found = f"{len(steps.rows)} whole rows"
            raise InputError(records / "steps.csv", found, f"{expected} up to step {step}")
        if step < settings.steps:
            _go_on(settings, work, step, records, steps, epochs, config, verbose)
        if not session.is_chief():
            return
    chosen = checkpoint_at(work.scratch / "best", hooks.best_of(epochs.rows)["step"])
    _write_outputs(settings, work, chosen, _summary(steps.rows, epochs.rows, chosen))
    empty(work.scratch)


@contextlib.contextmanager
def _records(scratch):
    """The folder that this process writes down its training in. Workers besides the chief go
    through the same motions, so that all come to the same decisions, in a copy of their own."""
    if session.is_chief():
        yield scratch
        return
    with tempfile.TemporaryDirectory() as own:
        for name in ("steps.csv", "epochs.csv"):
            if (scratch / name).exists():
                shutil.copyfile(scratch / name, Path(own) / name)
        yield Path(own)


def _run_config(settings, checkpoints):
    session_config = session.configure()
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


def _go_on(settings, work, first_step, records, steps, epochs, config, verbose):
    """Train from the last checkpoint to the end."""
    params = dataclasses.asdict(settings) | settings.spleeter()
    place, valid_place = work.caches
    segments = cache.Segments(settings, work.train, cache.to_train_on(settings), place)
    drawn = draws(settings, segments)
    segments.fill(np.unique(drawn[:, 0]))
    valid_segments = cache.Segments(
        settings, work.valid, cache.to_validate_on(settings), valid_place
    )
    valid_segments.fill(range(len(valid_segments)))

    def batches(input_context=None):
        share = _share(settings.batch_size, input_context)
        return training_dataset(settings, segments, drawn, first_step, share)

    def validation_batches():
        return validation_dataset(settings, valid_segments)

    validator = Validator(params, validation_batches, config.session_config, records / "best")
    progress = hooks.StepLog(settings, steps, first_step, verbose)
    # Workers can save only together: every one of them does.
    saved = records / "checkpoints"
    saved.mkdir(exist_ok=True)
    keeper = hooks.Validation(settings, progress, steps, epochs, validator, saved)

    def model(features, labels, mode, params):
        spec = model_fn(features, labels, mode, params)
        return spec._replace(
            # The Estimator gives hooks that are not part of the model to the chief alone.
            training_hooks=[progress, keeper],
            # It would stop at a loss that is not a number before its row is in steps.csv.
            loss=tf.where(tf.math.is_finite(spec.loss), spec.loss, tf.zeros_like(spec.loss)),
        )

    estimator = tf.estimator.Estimator(model, params=params, config=config)
    if session.workers():
        with tf.Graph().as_default():  # as the strategy was made, see `session.strategy`
            tf.estimator.train_and_evaluate(
                estimator,
                tf.estimator.TrainSpec(batches, max_steps=settings.steps),
                tf.estimator.EvalSpec(batches),  # for a job that there is none of
            )
    else:
        estimator.train(batches, max_steps=settings.steps)


def _share(batch_size, context):
    """This process's part of the batches; `context` is None where there is nothing to share."""
    if context is None:
        return Share(batch_size)
    replicas, workers = context.num_replicas_in_sync, context.num_input_pipelines
    return Share(
        batch_size=batch_size // replicas,
        devices=replicas // workers,
        worker=context.input_pipeline_id,
        workers=workers,
    )


def _summary(steps, epochs, checkpoint):
    losses = [row["loss"] for row in steps] + [row["valid_loss"] for row in epochs]
    completed = all(math.isfinite(loss) for loss in losses)
    return {
        "status": "completed" if completed else "diverged",
        "steps": steps[-1]["step"],
        "best_valid_loss": _finite(hooks.best_of(epochs)["valid_loss"]),
        "final_loss": _finite(steps[-1]["loss"]),
        "seconds_per_step": statistics.median(row["seconds"] for row in steps),
        "parameters": _count_parameters(checkpoint),
        "hardware": session.hardware(),
    }


def _finite(value):
    return value if math.isfinite(value) else None


def _count_parameters(checkpoint):
    """Trainable ones, of a checkpoint that holds the network and nothing else."""
    fixed = ("global_step", "moving_mean", "moving_variance")
    variables = tf.train.list_variables(str(checkpoint))
    return sum(math.prod(shape) for name, shape in variables if not name.endswith(fixed))


def _write_outputs(settings, work, checkpoint, summary):
    together = work.results == work.model
    beside = () if together else tuple(work.results / name for name in LOGS)
    with replacing(work.model, *beside) as (model, *logs):
        model.mkdir()
        for path in checkpoint.parent.glob(f"{checkpoint.name}.*"):
            _copy(path, model / path.name.replace(checkpoint.name, "model", 1))
        _write(model / "checkpoint", 'model_checkpoint_path: "model"\n')
        _write(model / "config.json", json.dumps(settings.spleeter(), indent=2) + "\n")
        # Without it Spleeter would try to download a model of this name.
        _write(model / ".probe", "OK")
        *logs, train_json = logs or (model / name for name in LOGS)
        for name, log in zip(LOGS[:2], logs, strict=True):
            _copy(work.scratch / name, log)
        _write(train_json, json.dumps(summary, indent=2) + "\n")


def _copy(source, target):
    with naming(target), source.open("rb") as old, target.open("wb") as new:
        shutil.copyfileobj(old, new)


def _write(path, text):
    with naming(path):
        path.write_text(text, encoding="utf-8")
