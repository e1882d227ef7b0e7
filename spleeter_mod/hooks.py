"""What happens between the steps of `tf.estimator`'s training loop."""

import math
import sys
from pathlib import Path
from time import perf_counter

import tensorflow as tf
from tqdm import tqdm

from spleeter_mod.logs import Log
from spleeter_mod.model import WATCHED
from spleeter_mod.schedules import PLATEAU_FACTOR, Plateau
from spleeter_mod.settings import Settings
from spleeter_mod.validation import Validator

SessionRunHook = tf.compat.v1.train.SessionRunHook
SessionRunArgs = tf.compat.v1.train.SessionRunArgs

STEP_COLUMNS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds")
EPOCH_COLUMNS = ("epoch", "step", "train_loss", "valid_loss", "best_valid_loss")


class StepLog(SessionRunHook):
    """A row of steps.csv for every step. A loss that is not finite ends the training."""

    def __init__(self, settings: Settings, log: Log):
        self._settings = settings
        self._log = log

    def after_create_session(self, session, coord):
        self._bar = tqdm(
            total=self._settings.steps,
            initial=len(self._log.rows),
            unit="step",
            disable=not sys.stderr.isatty(),
        )

    def before_run(self, run_context):
        self._started = perf_counter()
        return SessionRunArgs(WATCHED)

    def after_run(self, run_context, run_values):
        seconds = perf_counter() - self._started
        step = len(self._log.rows) + 1
        epoch = math.ceil(step / self._settings.validate_every)
        values = {name: float(value) for name, value in run_values.results.items()}
        self._log.append(step=step, epoch=epoch, **values, seconds=seconds)
        self._bar.update()
        if not math.isfinite(values["loss"]):
            _say(f"step {step}: diverged, the loss is {values['loss']}")
            run_context.request_stop()

    def end(self, session):
        self._bar.close()


class Validation(SessionRunHook):
    """At the end of every epoch and of the run: a row of epochs.csv, the best weights so far, and
    a checkpoint to resume from, in this order: a checkpoint knows that all before it is there.

    Comes after `StepLog`. A validation loss that is not finite ends the training.
    """

    def __init__(
        self,
        settings: Settings,
        steps: Log,
        epochs: Log,
        validator: Validator,
        checkpoints: Path,
    ):
        self._settings = settings
        self._steps, self._epochs = steps, epochs
        self._validator = validator
        self._checkpoints = checkpoints
        self._plateau = None
        schedule = settings.schedule
        if schedule["name"] == "plateau":
            self._plateau = Plateau(schedule["patience"], schedule["factor"])
            for row in epochs.rows:
                self._plateau.update(row["valid_loss"])

    def begin(self):
        self._weights = {v.op.name: v for v in tf.compat.v1.global_variables()}
        self._weights = {name: self._weights[name] for name in self._validator.names}

    def after_create_session(self, session, coord):
        (self._saver,) = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVERS)
        if not self._steps.rows:
            self._validator.load(session.run(self._weights))
            self._validator.save(step=0)

    def before_run(self, run_context):
        if self._plateau:
            return SessionRunArgs(None, {PLATEAU_FACTOR: self._plateau.factor})

    def after_run(self, run_context, run_values):
        step, last = len(self._steps.rows), self._steps.rows[-1]
        if not math.isfinite(last["loss"]):
            return
        if step % self._settings.validate_every and step < self._settings.steps:
            return
        losses = [row["loss"] for row in self._steps.rows if row["epoch"] == last["epoch"]]
        best = best_of(self._epochs.rows)["valid_loss"]
        self._validator.load(run_context.session.run(self._weights))
        loss = self._validator.loss()
        if loss < best:
            self._validator.save(step)
            best = loss
        self._epochs.append(
            epoch=last["epoch"],
            step=step,
            train_loss=math.fsum(losses) / len(losses),
            valid_loss=loss,
            best_valid_loss=best if math.isfinite(best) else math.nan,
        )
        row = self._epochs.rows[-1]
        _say(
            f"step {step} of {self._settings.steps}: training loss {row['train_loss']:.4f}, "
            f"validation loss {loss:.4f}, best {row['best_valid_loss']:.4f}"
        )
        if not math.isfinite(loss):
            run_context.request_stop()
            return
        if self._plateau:
            self._plateau.update(loss)
        self._steps.sync()
        self._epochs.sync()
        path = str(self._checkpoints / "model.ckpt")
        self._saver.save(run_context.session, path, step, write_meta_graph=False)


def _say(line):
    """Above the progress bar, if there is one."""
    tqdm.write(line)
    sys.stdout.flush()


def best_of(epochs: list[dict]) -> dict:
    """The validation with the lowest loss; before any, the initial weights' step 0."""
    finite = [row for row in epochs if math.isfinite(row["valid_loss"])]
    initial = {"step": 0, "valid_loss": math.inf}
    return min(finite, key=lambda row: row["valid_loss"], default=initial)
