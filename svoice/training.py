"""A training run, from its configuration to its outputs."""

from __future__ import annotations

import math
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from contract import termination
from contract.files import json_text, sha256, write_together
from contract.layout import TRAIN, list_file
from contract.records import CHECKPOINT_SECONDS, divergence, summary, validation_row
from contract.schedules import Length, Schedule
from contract.termination import Terminated
from svoice import checkpoint, distributed
from svoice.data import TrainingBatches, read_list
from svoice.devices import (
    allow_tf32,
    compile_network,
    default_device,
    hardware,
    memory_errors_explained,
)
from svoice.network import SVoice
from svoice.optimizers import averaged, state_bytes
from svoice.params import Params
from svoice.records import FILES, Records
from svoice.stepper import Stepper
from svoice.validation import validate

SPLITS = ("train", "valid")  # the splits whose lists a training reads


@dataclass(frozen=True)
class Places:
    """The files and folders of a training.

    Attributes:
        lists: the folder of train.csv and valid.csv.
        model: the file of the trained network.
        results: the folder of the records.
        scratch: the folder of all that is unfinished.
    """

    lists: Path
    model: Path
    results: Path
    scratch: Path

    @property
    def checkpoint(self) -> Path:
        """The file from which the training resumes."""
        return self.scratch / "checkpoint.pt"


def configuration(params: Params, lists: Path) -> dict[str, Any]:
    """Returns what a checkpoint has to fit: its parameters, and the hashes of its lists.

    The audio, the code and PyTorch determine a training as well. The pipeline and
    `svoice.standalone`, which choose its folder, choose another one when they change.

    Args:
        params: the parameters.
        lists: the folder of train.csv and valid.csv.

    Raises:
        OSError: a list cannot be read.
    """
    return {
        **params.configuration(),
        "lists": {name: sha256(lists / list_file(name)) for name in SPLITS},
    }


def make_network(params: Params) -> SVoice:
    """Returns the network with its initial weights, which the seed determines.

    Args:
        params: the sizes of the network, and the seed.

    Returns:
        The network on the CPU, in training mode.
    """
    torch.manual_seed(params.seed)
    checkpointing = params.svoice.activation_checkpointing
    return SVoice(**params.network_sizes, activation_checkpointing=checkpointing)


def _memory_errors_explained() -> AbstractContextManager[None]:
    """Turns an error that says that memory ran out into one for the user who trains."""
    return memory_errors_explained(
        "svoice",
        "the network and its batch",
        "raise svoice.accumulation_steps, set svoice.activation_checkpointing to true, or lower "
        "svoice.batch_size",
    )


class Training:
    """A training run and where it stands.

    Args:
        params: the parameters.
        places: the files and folders.

    Attributes:
        epoch: the number of epochs that are finished and validated.
        step: the number of steps taken.
        best_valid_loss: the lowest validation loss so far, in dB; infinite before the first finite
            one.
        best_weights: the weights of that validation, by name; before it, the initial weights.

    Raises:
        InputError: a list or an audio file is wrong, there is no GPU for this process, or the
            memory does not suffice.
    """

    def __init__(self, params: Params, places: Places) -> None:
        self.params, self.places = params, places
        self.epochs = params.svoice.epochs
        rate, speakers = params.sample_rate, params.speakers
        device = default_device()
        allow_tf32(params.svoice.tf32)
        # On a GPU this would need slower kernels, and an environment variable for cuBLAS.
        torch.use_deterministic_algorithms(device.type == "cpu")
        torch.utils.deterministic.fill_uninitialized_memory = False
        self.validation = read_list(places.lists / list_file("valid"), speakers, rate)
        self.batches = TrainingBatches(
            read_list(places.lists / list_file("train"), speakers, rate),
            params.samples("segment_seconds"),
            params.samples("stride_seconds"),
            params.svoice.batch_size,
            params.seed,
            distributed.rank(),
            distributed.world_size(),
            pinned=device.type == "cuda",
        )
        self.length = Length(len(self.batches), self.epochs * len(self.batches))
        self.schedule = Schedule(params.learning_rate, params.schedule, self.length)
        with _memory_errors_explained():
            self.network = make_network(params).to(device)
            if params.svoice.compile:
                compile_network(self.network)
            self.stepper = Stepper(self.network, params)
        self.configuration = configuration(params, places.lists)
        self.epoch = self.step = 0
        self.best_valid_loss = math.inf
        self.best_weights: dict[str, Tensor] = checkpoint.snapshot(self.network)
        self._saved_at = perf_counter()

    @_memory_errors_explained()
    def complete(self) -> None:
        """Trains to the end, from the last checkpoint if there is one, and writes the outputs.

        A loss that is not finite ends the training, and is a result.

        SIGTERM ends it early: all processes finish the step that they are in, or leave the
        validation that they are in, and the first one saves a checkpoint.

        Raises:
            Terminated: SIGTERM has ended the training early, in one of the processes or in all.
            InputError: the checkpoint is not of this training, another process is training, a file
                can no longer be read, or the memory does not suffice.
            OSError: a file cannot be written.
        """
        state = self._resume() if self.places.checkpoint.exists() else None
        distributed.check_agreement(self.step, self.places.checkpoint)
        is_first = distributed.is_first()
        if is_first and (processes := distributed.world_size()) > 1:
            print_line(f"{processes} processes share each batch")
        with termination.postponed():
            with Records(self.places.scratch, state) if is_first else nullcontext() as records:
                try:
                    self._run(records)
                except Terminated:
                    if records:
                        self._save(records)
                        print_line(termination.notice(self.step))
                    distributed.wait_for_all()  # torchrun would stop the first one while it saves
                    raise
                if records:
                    self._write_outputs(records)
            if is_first:
                self._empty_scratch()

    # In what follows, `records` is None in all processes but the first.

    def _run(self, records: Records | None) -> None:
        """Trains until the last epoch is validated or a loss is not finite."""
        with tqdm(
            total=self.length.total,
            initial=self.step,
            unit="step",
            disable=not (records and sys.stderr.isatty()),
        ) as bar:
            while self.epoch < self.epochs:
                losses = self._train_epoch(records, bar)
                if losses and not math.isfinite(losses[-1]):
                    print_line(divergence(losses[-1], self.step))
                    return
                valid_loss = self._validate()
                self.epoch += 1
                if records:
                    self._record_epoch(records, losses, valid_loss)
                if not math.isfinite(valid_loss):
                    print_line(divergence(valid_loss, self.step, in_validation=True))
                    return
                self.schedule.validated(valid_loss)
                if records:
                    self._save(records)

    def _validate(self) -> float:
        """Returns the validation loss, and keeps the weights if it is the lowest so far."""
        with averaged(self.stepper.optimizer):
            valid_loss = validate(self.network, self.validation, self.params.svoice.precision)
            if valid_loss < self.best_valid_loss:
                self.best_valid_loss = valid_loss
                self.best_weights = checkpoint.snapshot(self.network)
        return valid_loss

    def _train_epoch(self, records: Records | None, bar: tqdm) -> list[float]:
        """Trains on the rest of an epoch, or until the loss is not finite or SIGTERM ends it.

        Returns:
            The losses of all steps of the epoch; without `records`, only those of the steps that
            this process has taken.
        """
        self.network.train()
        batches_done = self.step - self.epoch * len(self.batches)
        losses = records.losses(self.epoch + 1) if records and batches_done else []
        batches = self.batches.epoch(self.epoch + 1, batches_done)
        started = perf_counter()  # the start of a step, which begins with the wait for its batch
        for number, batch in enumerate(batches, batches_done):
            rate = self.schedule.rate(self.step)
            loss, norm = self.stepper.step(batch, self.batches.weight(number), rate)
            losses.append(loss)
            self.step += 1
            finished = perf_counter()
            if records:
                records.step(
                    step=self.step,
                    epoch=self.epoch + 1,
                    loss=loss,
                    learning_rate=rate,
                    gradient_norm=norm,
                    seconds=finished - started,
                )
            bar.update()
            if not math.isfinite(loss):
                break
            if self.stepper.asked_to_end:
                raise Terminated
            # Only the first process looks at its clock, as nothing but saving depends on it.
            if records and finished - self._saved_at >= CHECKPOINT_SECONDS:
                self._save(records)
            started = perf_counter()
        return losses

    def _record_epoch(self, records: Records, losses: list[float], valid_loss: float) -> None:
        row = validation_row(self.epoch, self.step, losses, valid_loss, self.best_valid_loss)
        records.epoch(**row)
        print_line(
            f"epoch {self.epoch} of {self.epochs}: training loss {row['train_loss']:.3f} dB, "
            f"validation loss {valid_loss:.3f} dB, best {row['best_valid_loss']:.3f} dB"
        )

    def _save(self, records: Records) -> None:
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            **self.stepper.state_dict(),
            "plateau": self.schedule.state(),
            "best_valid_loss": self.best_valid_loss,
            "best_weights": self.best_weights,
            "records": records.sync(),
        }
        checkpoint.save_checkpoint(self.places.checkpoint, self.configuration, state)
        self._saved_at = perf_counter()

    def _resume(self) -> tuple[int, int, int]:
        """Takes over the state of the checkpoint, and returns that of the records."""
        state = checkpoint.load_checkpoint(self.places.checkpoint, self.configuration)
        self.epoch, self.step = state["epoch"], state["step"]
        self.network.load_state_dict(state["network"])
        self.stepper.load_state_dict(state)
        self.schedule.restore(state["plateau"])
        self.best_valid_loss = state["best_valid_loss"]
        self.best_weights = state["best_weights"]
        if self.step == self.epoch * len(self.batches):
            print_line(f"resuming after epoch {self.epoch} of {self.epochs}")
        else:
            epoch = f"epoch {self.epoch + 1} of {self.epochs}"
            print_line(f"resuming after step {self.step}, in {epoch}")
        return state["records"]

    def _write_outputs(self, records: Records) -> None:
        """Writes all outputs or none; train.json is last, so that where it is, all are."""
        results, scratch = self.places.results, self.places.scratch
        report = summary(
            records.steps.rows,
            records.epochs.rows,
            sum(parameter.numel() for parameter in self.network.parameters()),
            hardware(self.stepper.device, distributed.world_size()),
            state_bytes(self.stepper.optimizer),
        )
        write_together(
            {
                self.places.model: checkpoint.model_bytes(self.network, self.best_weights),
                **{results / name: (scratch / name).read_bytes() for name in FILES},
                results / TRAIN: json_text(report),
            }
        )

    def _empty_scratch(self) -> None:
        # The checkpoint is removed first, so that no new start resumes without its records.
        records = (self.places.scratch / name for name in FILES)
        for path in (self.places.checkpoint, *records):
            path.unlink(missing_ok=True)
            if path.parent != self.places.scratch:
                path.parent.rmdir()


def print_line(line: str) -> None:
    """Prints a line of progress in the first process, above the progress bar if there is one.

    Args:
        line: the line, without its end.
    """
    if distributed.is_first():
        tqdm.write(line)
        sys.stdout.flush()
