"""Hooks of the training loop of `tf.estimator`: what happens between its steps."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from time import monotonic, perf_counter

import tensorflow as tf
from tqdm import tqdm

from contract import termination
from contract.events import Records
from contract.files import write
from contract.records import CHECKPOINT_SECONDS, best, divergence, validation_row
from contract.schedules import Length, Schedule
from spleeter_mod.clipping import NORMS
from spleeter_mod.model import ANY_REQUEST, LEARNING_RATES, REQUESTS, WATCHED
from spleeter_mod.optimizers import weights_to_keep
from spleeter_mod.session import workers
from spleeter_mod.settings import Settings
from spleeter_mod.validation import Validator

SessionRunHook = tf.compat.v1.train.SessionRunHook
SessionRunArgs = tf.compat.v1.train.SessionRunArgs
SessionRunContext = tf.compat.v1.train.SessionRunContext
SessionRunValues = tf.compat.v1.train.SessionRunValues
Session = tf.compat.v1.Session

# The file, in the folder of the records, with the bytes of the optimizer's state. It is there as
# soon as the training takes steps, also for a process that finds them all taken.
OPTIMIZER_BYTES = "optimizer_bytes"


class StepLog(SessionRunHook):
    """Writes the rows of steps.csv, and ends the training when its loss is not finite.

    Args:
        settings: the run.
        records: those of this process.
        first_step: the number of steps that were taken before this process started.
        verbose: whether to print every row.

    Attributes:
        step: the number of steps taken.
        loss: the loss of the last step of this process; NaN before it.
    """

    def __init__(
        self, settings: Settings, records: Records, first_step: int, verbose: bool
    ) -> None:
        self._settings = settings
        self._records = records
        self._verbose = verbose
        self.step = first_step
        self.loss = math.nan

    def after_create_session(self, session: Session, coord: tf.train.Coordinator) -> None:
        """Opens the progress bar.

        Args:
            session: the new session.
            coord: TensorFlow's, which is not used.
        """
        self._bar = tqdm(
            total=self._settings.steps,
            initial=self.step,
            unit="step",
            disable=not sys.stderr.isatty(),
        )

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Starts the clock of a step, and asks for what steps.csv records of it.

        Args:
            run_context: the context of the step.

        Returns:
            The tensors `model.WATCHED`.
        """
        self._started = perf_counter()
        return SessionRunArgs(WATCHED)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Records a step, and ends the training if its loss is not finite.

        Args:
            run_context: the context of the step.
            run_values: with the scalars that `before_run` asked for, by column of steps.csv.

        Raises:
            OSError: its row cannot be written.
        """
        seconds = perf_counter() - self._started
        self.step += 1
        values = {name: float(value) for name, value in run_values.results.items()}
        self.loss = values["loss"]
        diverged = not math.isfinite(self.loss)
        if diverged or self._settings.logs(self.step):
            epoch = math.ceil(self.step / self._settings.validate_every)
            self._records.step(step=self.step, epoch=epoch, **values, seconds=seconds)
            if self._verbose:
                _print_line(f"step {self.step}: loss {self.loss:.7g} ({seconds:.3f} s)")
        self._bar.update()
        if diverged:
            _print_line(divergence(self.loss, self.step))
            run_context.request_stop()

    def end(self, session: Session) -> None:
        """Closes the progress bar.

        Args:
            session: the session that ends.
        """
        self._bar.close()


class Validation(SessionRunHook):
    """Feeds the learning rate of every step, validates, and saves checkpoints.

    At the end of every epoch and of the run it saves the weights if they are the best so far,
    writes a row of epochs.csv, and saves a checkpoint to resume from. The checkpoint comes last, so
    that a run that resumes from it finds the other two. A validation loss that is not finite ends
    the training.

    In long epochs it saves a checkpoint every `CHECKPOINT_SECONDS` as well, unless there are
    several workers: they can save only together, and their clocks would not agree on the moment.

    If SIGTERM asks a process to end, all of them save a checkpoint after the same step, and end.

    Args:
        settings: the run.
        progress: the hook that runs before this one.
        records: those of this process.
        validator: computes the validation loss, and saves the best weights.
        checkpoints: the folder of the checkpoints.

    Attributes:
        terminated: whether SIGTERM has ended the training before its last step.
    """

    def __init__(
        self,
        settings: Settings,
        progress: StepLog,
        records: Records,
        validator: Validator,
        checkpoints: Path,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._records = records
        self._validator = validator
        self._checkpoints = checkpoints
        self.terminated = False
        self._seconds = math.inf if workers() else CHECKPOINT_SECONDS
        length = Length(settings.validate_every, settings.steps)
        self._schedule = Schedule(settings.optimizer["learning_rate"], settings.schedule, length)
        for row in records.epochs.rows:
            self._schedule.validated(row["valid_loss"])

    def begin(self) -> None:
        """Finds the weights that the validation needs, before the graph is finished.

        Raises:
            OSError: the disk is full.
        """
        # Of several devices, each has a copy of the variables; that of the first one is used.
        local = tf.distribute.get_strategy().experimental_local_results
        variables = {v.op.name: local(v)[0] for v in tf.compat.v1.global_variables()}
        kept = weights_to_keep(self._settings.optimizer, variables)
        self._weights = {name: kept[name] for name in self._validator.names}
        state = [variables[name] for name in variables.keys() - self._weights.keys() - {NORMS}]
        size = sum(v.dtype.size * v.shape.num_elements() for v in state)
        write(self._records.folder / OPTIMIZER_BYTES, f"{size}\n")

    def after_create_session(self, session: Session, coord: tf.train.Coordinator) -> None:
        """Saves the initial weights as the best so far, at the start of a run.

        Args:
            session: the new session.
            coord: TensorFlow's, which is not used.
        """
        (self._saver,) = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVERS)
        self._rates = tf.compat.v1.get_collection(LEARNING_RATES)
        self._requests = tf.compat.v1.get_collection(REQUESTS)
        self._saved_at = monotonic()
        if not self._progress.step:
            self._validator.load(session.run(self._weights))
            self._validator.save(step=0)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Feeds the learning rate of a step, and whether this process has been asked to end.

        Args:
            run_context: the context of the step.

        Returns:
            Both, for the placeholders of each device; and as the result whether any process has
            been asked.
        """
        rate = self._schedule.rate(self._progress.step)
        request = float(termination.requested())
        feed = dict.fromkeys(self._rates, rate) | dict.fromkeys(self._requests, request)
        return SessionRunArgs(ANY_REQUEST, feed)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Validates and saves a checkpoint, if it is time or the training is to end early.

        Args:
            run_context: the context of the step, with the session.
            run_values: the result that `before_run` asked for.

        Raises:
            OSError: its row cannot be written.
        """
        step = self._progress.step
        if not math.isfinite(self._progress.loss):
            return

        def requested() -> bool:
            # A process that trains alone need not take a further step to know.
            return run_values.results > 0 or (not workers() and termination.requested())

        if self._settings.validates(step):
            loss = self._validate(run_context.session, step)
            if not math.isfinite(loss):
                _print_line(divergence(loss, step, in_validation=True))
                run_context.request_stop()
                return
            self._schedule.validated(loss)
        elif not requested() and monotonic() - self._saved_at < self._seconds:
            return
        self._records.sync()
        path = str(self._checkpoints / "model.ckpt")
        self._saver.save(run_context.session, path, step, write_meta_graph=False)
        self._saved_at = monotonic()
        if requested() and step < self._settings.steps:
            self.terminated = True
            run_context.request_stop()
            _print_line(termination.notice(step))

    def _validate(self, session: Session, step: int) -> float:
        """Validates, writes a row of epochs.csv, and returns the loss."""
        steps = self._records.steps.rows
        epoch = steps[-1]["epoch"]
        losses = [row["loss"] for row in steps if row["epoch"] == epoch]
        lowest = best(self._records.epochs.rows)["valid_loss"]
        self._validator.load(session.run(self._weights))
        loss = self._validator.loss()
        if loss < lowest:
            self._validator.save(step)
        row = validation_row(epoch, step, losses, loss, lowest)
        self._records.epoch(**row)
        _print_line(
            f"step {step} of {self._settings.steps}: training loss {row['train_loss']:.4f}, "
            f"validation loss {loss:.4f}, best {row['best_valid_loss']:.4f}"
        )
        return loss


def _print_line(line: str) -> None:
    """Prints a line of progress, above the progress bar if there is one."""
    tqdm.write(line)
    sys.stdout.flush()
