"""One training run, from the scratch folder's last checkpoint to the outputs."""

import contextlib
import dataclasses
import json
import math
import shutil
import statistics
from pathlib import Path

import tensorflow as tf

from spleeter_mod import hooks, session
from spleeter_mod.data import training_dataset, validation_dataset
from spleeter_mod.errors import InputError, naming
from spleeter_mod.files import empty, remove, replacing
from spleeter_mod.logs import Log
from spleeter_mod.model import model_fn
from spleeter_mod.settings import MODEL, RESULTS, Settings
from spleeter_mod.tracks import LISTS
from spleeter_mod.validation import Validator, checkpoint_at


def train(settings: Settings, songs: int, scratch: Path) -> None:
    """Train, write the outputs and empty the scratch folder.

    Args:
        settings: the run.
        songs: how many there are to train on.
        scratch: the folder of everything unfinished.

    Raises:
        InputError: a file was changed meanwhile, or memory does not suffice.
        OSError: the disk is full.
    """
    session_config = session.configure()
    checkpoints, best = scratch / "checkpoints", scratch / "best"
    checkpoints.mkdir(exist_ok=True)
    latest = tf.train.latest_checkpoint(str(checkpoints))
    step = int(tf.train.load_variable(latest, "global_step")) if latest else 0
    if step:
        print(f"resuming after step {step} of {settings.steps}", flush=True)
    with (
        Log(scratch / "steps.csv", hooks.STEP_COLUMNS, step) as steps,
        Log(scratch / "epochs.csv", hooks.EPOCH_COLUMNS, step) as epochs,
        session.explained(scratch),
    ):
        if len(steps.rows) != step:
            found = f"{len(steps.rows)} whole rows"
            raise InputError(scratch / "steps.csv", found, f"the checkpoint's {step}")
        if step < settings.steps:
            _go_on(settings, songs, scratch, steps, epochs, session_config)
    chosen = checkpoint_at(best, hooks.best_of(epochs.rows)["step"])
    _write_outputs(settings, scratch, chosen, _summary(steps.rows, epochs.rows, chosen))
    empty(scratch)


def _go_on(settings, songs, scratch, steps, epochs, session_config):
    """Train from the last checkpoint to the end."""
    params = dataclasses.asdict(settings) | settings.spleeter()
    cache, checkpoints = scratch / "cache", scratch / "checkpoints"
    first_step = len(steps.rows)

    def batches():
        path = LISTS / "train.csv"
        return training_dataset(settings, path, _unspoilt(cache / "train"), songs, first_step)

    def validation_batches():
        return validation_dataset(settings, LISTS / "valid.csv", _unspoilt(cache / "valid"))

    validator = Validator(params, validation_batches, session_config, scratch / "best")
    estimator = tf.estimator.Estimator(
        model_fn,
        params=params,
        config=tf.estimator.RunConfig(
            model_dir=str(checkpoints),
            # 0 would clash with the seeds that are tensors, as those of tf.data's shuffle.
            tf_random_seed=settings.seed + 1,
            session_config=session_config,
            save_summary_steps=None,
            save_checkpoints_secs=None,  # `hooks.Validation` saves
            log_step_count_steps=None,
            keep_checkpoint_max=2,
        ),
    )
    # A loss that is not a number is a result, and in steps.csv.
    with contextlib.suppress(tf.estimator.NanLossDuringTrainingError):
        estimator.train(
            batches,
            hooks=[
                hooks.StepLog(settings, steps),
                hooks.Validation(settings, steps, epochs, validator, checkpoints),
            ],
            max_steps=settings.steps,
        )


def _unspoilt(folder):
    """The prefix of a cache's files. tf.data finishes a cache by writing its index, and refuses
    to go on with an unfinished one."""
    prefix = folder / "segments"
    if not prefix.with_suffix(".index").exists():
        remove(folder)
    return prefix


def _summary(steps, epochs, checkpoint):
    losses = [row["loss"] for row in steps] + [row["valid_loss"] for row in epochs]
    completed = all(math.isfinite(loss) for loss in losses)
    return {
        "status": "completed" if completed else "diverged",
        "steps": len(steps),
        "best_valid_loss": _finite(hooks.best_of(epochs)["valid_loss"]),
        "final_loss": _finite(steps[-1]["loss"]),
        "seconds_per_step": statistics.median(row["seconds"] for row in steps),
        "parameters": _count_parameters(checkpoint),
    }


def _finite(value):
    return value if math.isfinite(value) else None


def _count_parameters(checkpoint):
    """Trainable ones, of a checkpoint that holds the network and nothing else."""
    fixed = ("global_step", "moving_mean", "moving_variance")
    variables = tf.train.list_variables(str(checkpoint))
    return sum(math.prod(shape) for name, shape in variables if not name.endswith(fixed))


def _write_outputs(settings, scratch, checkpoint, summary):
    names = ("steps.csv", "epochs.csv", "train.json")
    with replacing(*(RESULTS / name for name in names), MODEL) as (*logs, train_json, model):
        for name, log in zip(names[:2], logs, strict=True):
            _copy(scratch / name, log)
        _write(train_json, json.dumps(summary, indent=2) + "\n")
        model.mkdir()
        for path in checkpoint.parent.glob(f"{checkpoint.name}.*"):
            _copy(path, model / path.name.replace(checkpoint.name, "model", 1))
        _write(model / "checkpoint", 'model_checkpoint_path: "model"\n')
        _write(model / "config.json", json.dumps(settings.spleeter(), indent=2) + "\n")
        # Without it Spleeter would try to download a model of this name.
        _write(model / ".probe", "OK")


def _copy(source, target):
    with naming(target), source.open("rb") as old, target.open("wb") as new:
        shutil.copyfileobj(old, new)


def _write(path, text):
    with naming(path):
        path.write_text(text, encoding="utf-8")
