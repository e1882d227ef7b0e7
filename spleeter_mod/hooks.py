"""What happens between the steps of `tf.estimator`'s training loop."""

import math
import sys
from pathlib import Path
from time import monotonic, perf_counter

import tensorflow as tf
from tqdm import tqdm

from spleeter_mod.logs import Log
from spleeter_mod.model import WATCHED
from spleeter_mod.schedules import PLATEAU_FACTORS, Plateau
from spleeter_mod.session import workers
from spleeter_mod.settings import Settings
from spleeter_mod.validation import Validator

SessionRunHook = tf.compat.v1.train.SessionRunHook
SessionRunArgs = tf.compat.v1.train.SessionRunArgs

STEP_COLUMNS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds")
EPOCH_COLUMNS = ("epoch", "step", "train_loss", "valid_loss", "best_valid_loss")

CHECKPOINT_SECONDS = 600  # what a killed run loses at most


class StepLog(SessionRunHook):
    """The rows of steps.csv. A loss that is not finite ends the training.

    Attributes:
        step: how many steps were taken.
        loss: of the last one.
    """

    def __init__(self, settings: Settings, log: Log, first_step: int, verbose: bool):
        """
        Args:
            settings: the run.
            log: steps.csv.
            first_step: how many steps were taken before this process.
            verbose: print every row.
        """
        self._settings = settings
        self._log = log
        self._verbose = verbose
        self.step = first_step
        self.loss = math.nan

    def after_create_session(self, session, coord):
        self._bar = tqdm(
            total=self._settings.steps,
            initial=self.step,
            unit="step",
            disable=not sys.stderr.isatty(),
        )

    def before_run(self, run_context):
        self._started = perf_counter()
        return SessionRunArgs(WATCHED)

    def after_run(self, run_context, run_values):
        seconds = perf_counter() - self._started
        self.step += 1
        values = {name: float(value) for name, value in run_values.results.items()}
        self.loss = values["loss"]
        diverged = not math.isfinite(self.loss)
        if diverged or self._settings.logs(self.step):
            epoch = math.ceil(self.step / self._settings.validate_every)
            self._log.append(step=self.step, epoch=epoch, **values, seconds=seconds)
            if self._verbose:
                _say(f"step {self.step}: loss {self.loss:.7g} ({seconds:.3f} s)")
        self._bar.update()
        if diverged:
            _say(f"step {self.step}: diverged, the loss is {self.loss}")
            run_context.request_stop()

    def end(self, session):
        self._bar.close()


class Validation(SessionRunHook):
    """At the end of every epoch and of the run: a row of epochs.csv, the best weights so far, and
    a checkpoint to resume from, in this order: a checkpoint knows that all before it is there.
    In long epochs a checkpoint every `CHECKPOINT_SECONDS`, too, unless there are several workers:
    their clocks would not agree on it, and they can save only together.

    Comes after `StepLog`. A validation loss that is not finite ends the training.
    """

    def __init__(
        self,
        settings: Settings,
        progress: StepLog,
        steps: Log,
        epochs: Log,
        validator: Validator,
        checkpoints: Path,
    ):
        self._settings = settings
        self._progress = progress
        self._steps, self._epochs = steps, epochs
        self._validator = validator
        self._checkpoints = checkpoints
        self._seconds = math.inf if workers() else CHECKPOINT_SECONDS
        self._plateau = None
        schedule = settings.schedule
        if schedule["name"] == "plateau":
            self._plateau = Plateau(schedule["patience"], schedule["factor"])
            for row in epochs.rows:
                self._plateau.update(row["valid_loss"])

    def begin(self):
        variables = {v.op.name: v for v in tf.compat.v1.global_variables()}
        # Where there are several devices: their first one's copy.
        local = tf.distribute.get_strategy().experimental_local_results
        self._weights = {name: local(variables[name])[0] for name in self._validator.names}

    def after_create_session(self, session, coord):
        (self._saver,) = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVERS)
        self._plateau_factors = tf.compat.v1.get_collection(PLATEAU_FACTORS)
        self._saved_at = monotonic()
        if not self._progress.step:
            self._validator.load(session.run(self._weights))
            self._validator.save(step=0)

    def before_run(self, run_context):
        if self._plateau:
            feed = dict.fromkeys(self._plateau_factors, self._plateau.factor)
            return SessionRunArgs(None, feed)

    def after_run(self, run_context, run_values):
        step = self._progress.step
        if not math.isfinite(self._progress.loss):
            return
        if self._settings.validates(step):
            loss = self._validate(run_context.session, step)
            if not math.isfinite(loss):
                run_context.request_stop()
                return
        elif monotonic() - self._saved_at < self._seconds:
            return
        self._steps.sync()
        self._epochs.sync()
        path = str(self._checkpoints / "model.ckpt")
        self._saver.save(run_context.session, path, step, write_meta_graph=False)
        self._saved_at = monotonic()

    def _validate(self, session, step):
        epoch = self._steps.rows[-1]["epoch"]
        losses = [row["loss"] for row in self._steps.rows if row["epoch"] == epoch]
        best = best_of(self._epochs.rows)["valid_loss"]
        self._validator.load(session.run(self._weights))
        loss = self._validator.loss()
        if loss < best:
            self._validator.save(step)
            best = loss
        self._epochs.append(
            epoch=epoch,
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
        if self._plateau and math.isfinite(loss):
            self._plateau.update(loss)
        return loss


def _say(line):
    """Above the progress bar, if there is one."""
    tqdm.write(line)
    sys.stdout.flush()


def best_of(epochs: list[dict]) -> dict:
    """The validation with the lowest loss; before any, the initial weights' step 0."""
    finite = [row for row in epochs if math.isfinite(row["valid_loss"])]
    initial = {"step": 0, "valid_loss": math.inf}
    return min(finite, key=lambda row: row["valid_loss"], default=initial)
