"""A training run, from its configuration to its outputs."""

import json
import math
import statistics
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from tqdm import tqdm

from svoice import checkpoint, distributed, files
from svoice.compilation import compile_network
from svoice.data import TrainingBatches, digest, read_list
from svoice.devices import default_device, hardware
from svoice.errors import InputError
from svoice.network import SVoice
from svoice.params import network_sizes
from svoice.precision import allow_tf32
from svoice.records import NAMES, Records, read_column
from svoice.schedules import make_schedule
from svoice.stepper import Stepper
from svoice.validation import validate

CHECKPOINT_SECONDS = 600  # after which a long epoch is saved before its end


@dataclass(frozen=True)
class Places:
    """Where a training finds its lists and leaves its outputs; in `scratch` while unfinished."""

    lists: Path
    model: Path
    results: Path
    scratch: Path

    @property
    def checkpoint(self):
        return self.scratch / "checkpoint.pt"


def configuration(params, lists):
    """All that determines a run: its parameters and its lists of mixtures."""
    return {
        **params,
        "lists": {name: digest(lists / f"{name}.csv") for name in ("train", "valid")},
    }


def make_network(params):
    """The network with its initial weights, a function of the seed."""
    torch.manual_seed(params["seed"])
    return SVoice(
        **network_sizes(params),
        activation_checkpointing=params["svoice"]["activation_checkpointing"],
    )


def samples_of(params, key):
    """A duration of the configuration in samples. Raises InputError when it is not even one."""
    samples = round(params["svoice"][key] * params["speech"]["sample_rate"])
    if samples < 1:
        raise InputError(f"svoice.{key}", params["svoice"][key], "at least one sample")
    return samples


class Training:
    """A training run and where it stands.

    epoch: how many are done and validated; step: how many are done; best_valid_loss,
    best_weights: of the validations so far, infinite and the initial weights before the first
    finite one.
    """

    def __init__(self, params, places):
        self.places = places
        self.epochs = params["svoice"]["epochs"]
        self.precision = params["svoice"]["precision"]
        rate, speakers = params["speech"]["sample_rate"], params["speech"]["speakers"]
        device = default_device()
        allow_tf32(params["svoice"]["tf32"])
        # On a GPU this would need a cuBLAS set up for it, and slower kernels.
        torch.use_deterministic_algorithms(device.type == "cpu")
        torch.utils.deterministic.fill_uninitialized_memory = False
        self.validation = read_list(places.lists / "valid.csv", speakers, rate)
        self.batches = TrainingBatches(
            read_list(places.lists / "train.csv", speakers, rate),
            samples_of(params, "segment_seconds"),
            samples_of(params, "stride_seconds"),
            params["svoice"]["batch_size"],
            params["seed"],
            distributed.rank(),
            distributed.world(),
            pinned=device.type == "cuda",
        )
        self.schedule = make_schedule(
            params["optimizer"]["svoice"]["lr"],
            params["schedule"],
            len(self.batches),
            self.epochs * len(self.batches),
        )
        self.network = make_network(params).to(device)
        if params["svoice"]["compile"]:
            compile_network(self.network)
        self.stepper = Stepper(self.network, params)
        self.configuration = configuration(params, places.lists)
        self.epoch = self.step = 0
        self.best_valid_loss = math.inf
        self.best_weights = checkpoint.snapshot(self.network)
        self.saved = perf_counter()

    def complete(self):
        """Train to the end and write the outputs."""
        status = self.run()
        if distributed.first():
            self.write_outputs(status)
            self.empty_scratch()

    def run(self):
        """Train to the end, from the last checkpoint where there is one.

        → the status, `completed` or `diverged`
        """
        sizes = self.resume() if self.places.checkpoint.exists() else (0, 0, 0)
        distributed.check_agreement(self.step, self.places.checkpoint)
        first = distributed.first()
        with (
            Records(self.places.scratch, sizes) if first else nullcontext() as records,
            tqdm(
                total=self.epochs * len(self.batches),
                initial=self.step,
                unit="step",
                disable=not (first and sys.stderr.isatty()),
            ) as bar,
        ):
            while self.epoch < self.epochs:
                losses = self.train_epoch(records, bar)
                if losses and not math.isfinite(losses[-1]):
                    say(f"diverged: the loss of step {self.step} is {losses[-1]}")
                    return "diverged"
                valid_loss = validate(self.network, self.validation, self.precision)
                self.epoch += 1
                if valid_loss < self.best_valid_loss:
                    self.best_valid_loss = valid_loss
                    self.best_weights = checkpoint.snapshot(self.network)
                if records:
                    self.record_epoch(records, losses, valid_loss)
                if not math.isfinite(valid_loss):
                    say(f"diverged: the validation loss is {valid_loss}")
                    return "diverged"
                self.schedule.validated(valid_loss)
                if records:
                    self.save(records)
        return "completed"

    def train_epoch(self, records, bar):
        """Train on what is left of an epoch, or until the loss is not finite.

        → the losses of the epoch's steps; without `records` only of those made since the start
        """
        self.network.train()
        done = self.step - self.epoch * len(self.batches)
        losses = records.losses(self.epoch + 1) if records and done else []
        started = perf_counter()
        for number, batch in enumerate(self.batches.epoch(self.epoch + 1, done), done):
            rate = self.schedule.rate(self.step)
            loss, norm = self.stepper.step(batch, self.batches.weight(number), rate)
            losses.append(loss)
            self.step += 1
            finished = perf_counter()
            if records:
                records.step(self.step, self.epoch + 1, loss, rate, norm, finished - started)
            started = finished
            bar.update()
            if not math.isfinite(loss):
                break
            # Only the first process looks at its clock: nothing but the saving depends on it.
            if records and finished - self.saved >= CHECKPOINT_SECONDS:
                self.save(records)
        return losses

    def record_epoch(self, records, losses, valid_loss):
        train_loss = math.fsum(losses) / len(losses)
        best = self.best_valid_loss if math.isfinite(self.best_valid_loss) else math.nan
        records.epoch(self.epoch, self.step, train_loss, valid_loss, best)
        say(
            f"epoch {self.epoch} of {self.epochs}: training loss {train_loss:.3f} dB, "
            f"validation loss {valid_loss:.3f} dB, best {best:.3f} dB"
        )

    def save(self, records):
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            **self.stepper.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best_valid_loss": self.best_valid_loss,
            "best_weights": self.best_weights,
            "sizes": records.sync(),
        }
        checkpoint.save_checkpoint(self.places.checkpoint, self.configuration, state)
        self.saved = perf_counter()

    def resume(self):
        """Take the checkpoint's state. → the sizes that the records had then"""
        state = checkpoint.load_checkpoint(self.places.checkpoint, self.configuration)
        self.epoch, self.step = state["epoch"], state["step"]
        self.network.load_state_dict(state["network"])
        self.stepper.load_state_dict(state)
        self.schedule.load_state_dict(state["schedule"])
        self.best_valid_loss = state["best_valid_loss"]
        self.best_weights = state["best_weights"]
        if self.step == self.epoch * len(self.batches):
            say(f"resuming after epoch {self.epoch} of {self.epochs}")
        else:
            say(f"resuming after step {self.step}, in epoch {self.epoch + 1} of {self.epochs}")
        return state["sizes"]

    def summary(self, status):
        """What train.json says, from the rows of steps.csv."""
        steps = self.places.scratch / "steps.csv"
        return {
            "status": status,
            "steps": self.step,
            "best_valid_loss": finite(self.best_valid_loss),
            "final_loss": finite(read_column(steps, "loss")[-1]),
            "seconds_per_step": statistics.median(read_column(steps, "seconds")),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "hardware": hardware(self.stepper.device, distributed.world()),
        }

    def write_outputs(self, status):
        """All or none; train.json last, so that where it is the others are too."""
        results, scratch = self.places.results, self.places.scratch
        summary = json.dumps(self.summary(status), indent=2) + "\n"
        files.replace(
            {
                self.places.model: checkpoint.model_bytes(self.network, self.best_weights),
                **{results / name: (scratch / name).read_bytes() for name in NAMES},
                results / "train.json": summary.encode(),
            }
        )

    def empty_scratch(self):
        # First what a new start would go on from.
        for name in ("checkpoint.pt", *NAMES):
            path = self.places.scratch / name
            path.unlink(missing_ok=True)
            if path.parent != self.places.scratch:
                path.parent.rmdir()


def finite(value):
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def say(line):
    """Print a line of progress, beside a bar if there is one."""
    if distributed.first():
        tqdm.write(line)
        sys.stdout.flush()
