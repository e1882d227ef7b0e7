"""Train SVoice as params.yaml says: `python -m svoice.train --params params.yaml --scratch DIR`.

Killed at any moment, the same command with the same DIR goes on from the last validation.
"""

import argparse
import csv
import json
import math
import statistics
import sys
from pathlib import Path
from time import perf_counter

import torch
from tqdm import tqdm

from svoice import checkpoint, files
from svoice.clipping import check_clipping, clip
from svoice.data import Segment, TrainingBatches, load, read_list
from svoice.errors import InputError, one_line
from svoice.logs import Log
from svoice.loss import separation_loss
from svoice.network import SVoice
from svoice.optimizers import make_optimizer
from svoice.params import read_params
from svoice.schedules import make_schedule

LISTS = Path("data/csv/speech")
MODEL = Path("models/svoice/model.pt")
RESULTS = Path("results/svoice")

STEP_COLUMNS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds")
EPOCH_COLUMNS = ("epoch", "step", "train_loss", "valid_loss", "best_valid_loss")


def default_device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_network(params):
    """The network with its initial weights, a function of the seed."""
    torch.manual_seed(params["seed"])
    svoice, speech = params["svoice"], params["speech"]
    return SVoice(
        **{name: svoice[name] for name in ("N", "L", "H", "R", "segment_seconds", "group_norm")},
        C=speech["speakers"],
        sample_rate=speech["sample_rate"],
    )


def samples_of(params, key):
    """A duration of the configuration in samples. Raises InputError when it is not even one."""
    samples = round(params["svoice"][key] * params["speech"]["sample_rate"])
    if samples < 1:
        raise InputError(f"svoice.{key}", params["svoice"][key], "at least one sample")
    return samples


@torch.inference_mode()
def validate(network, items):
    """The mean over whole utterances of −SI-SNR in dB of the network's last output."""
    network.eval()
    device = next(network.parameters()).device
    losses = []
    for item in items:
        batch = load([Segment(item, 0, item.length)], item.length)
        mixture, sources, lengths = (tensor.to(device) for tensor in batch)
        losses.append(separation_loss(network(mixture), sources, lengths))
    return torch.stack(losses).mean().item()


class Training:
    """A training run and where it stands.

    epoch, step: how many are done, the epochs validated; best_valid_loss, best_weights: of the
    validations so far, infinite and the initial weights before the first finite one.
    """

    def __init__(self, params, scratch):
        self.params = params
        self.epochs = params["svoice"]["epochs"]
        rate = params["speech"]["sample_rate"]
        speakers = params["speech"]["speakers"]
        check_clipping(params["clipping"])
        device = default_device()
        # On a GPU this would need a cuBLAS set up for it, and slower kernels.
        torch.use_deterministic_algorithms(device.type == "cpu")
        torch.utils.deterministic.fill_uninitialized_memory = False
        self.network = make_network(params).to(device)
        self.optimizer = make_optimizer(
            params["optimizer"]["name"], params["optimizer"]["svoice"], self.network.parameters()
        )
        self.validation = read_list(LISTS / "valid.csv", speakers, rate)
        self.batches = TrainingBatches(
            read_list(LISTS / "train.csv", speakers, rate),
            samples_of(params, "segment_seconds"),
            samples_of(params, "stride_seconds"),
            params["svoice"]["batch_size"],
            params["seed"],
        )
        self.schedule = make_schedule(
            params["optimizer"]["svoice"]["lr"],
            params["schedule"],
            len(self.batches),
            self.epochs * len(self.batches),
        )
        self.epoch = self.step = 0
        self.best_valid_loss = math.inf
        self.best_weights = checkpoint.snapshot(self.network)
        self.steps_path = scratch / "steps.csv"
        self.epochs_path = scratch / "epochs.csv"
        self.checkpoint_path = scratch / "checkpoint.pt"

    def run(self):
        """Train to the end, from the last checkpoint where there is one.

        → the status, `completed` or `diverged`
        """
        sizes = self.resume() if self.checkpoint_path.exists() else (0, 0)
        with (
            Log(self.steps_path, STEP_COLUMNS, sizes[0]) as steps,
            Log(self.epochs_path, EPOCH_COLUMNS, sizes[1]) as epochs,
            tqdm(
                total=self.epochs * len(self.batches),
                initial=self.step,
                unit="step",
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            while self.epoch < self.epochs:
                losses = self.train_epoch(steps, bar)
                if not math.isfinite(losses[-1]):
                    say(f"diverged: the loss of step {self.step} is {losses[-1]}")
                    return "diverged"
                train_loss = math.fsum(losses) / len(losses)
                valid_loss = validate(self.network, self.validation)
                self.epoch += 1
                if valid_loss < self.best_valid_loss:
                    self.best_valid_loss = valid_loss
                    self.best_weights = checkpoint.snapshot(self.network)
                best = self.best_valid_loss if math.isfinite(self.best_valid_loss) else math.nan
                epochs.append((self.epoch, self.step, train_loss, valid_loss, best))
                say(
                    f"epoch {self.epoch} of {self.epochs}: training loss {train_loss:.3f} dB, "
                    f"validation loss {valid_loss:.3f} dB, best {best:.3f} dB"
                )
                if not math.isfinite(valid_loss):
                    say(f"diverged: the validation loss is {valid_loss}")
                    return "diverged"
                self.schedule.validated(valid_loss)
                self.save(steps, epochs)
        return "completed"

    def train_epoch(self, steps, bar):
        """Train on every segment once, or until the loss is not finite. → the steps' losses"""
        self.network.train()
        device = next(self.network.parameters()).device
        parameters = list(self.network.parameters())
        losses = []
        started = perf_counter()
        for batch in self.batches.epoch(self.epoch + 1):
            mixture, sources, lengths = (tensor.to(device) for tensor in batch)
            rate = self.schedule.rate(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = separation_loss(self.network(mixture), sources, lengths)
            self.optimizer.zero_grad()
            loss.backward()
            norm = clip(parameters, self.params["clipping"])
            self.optimizer.step()
            # Reading these is the step's only wait for the device, so it comes last.
            losses.append(loss.item())
            norm = norm.item()
            self.step += 1
            finished = perf_counter()
            steps.append((self.step, self.epoch + 1, losses[-1], rate, norm, finished - started))
            started = finished
            bar.update()
            if not math.isfinite(losses[-1]):
                break
        return losses

    def save(self, steps, epochs):
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best_valid_loss": self.best_valid_loss,
            "best_weights": self.best_weights,
            "sizes": (steps.sync(), epochs.sync()),
        }
        checkpoint.save_checkpoint(self.checkpoint_path, self.params, state)

    def resume(self):
        """Take the checkpoint's state. → the sizes that steps.csv and epochs.csv had then"""
        state = checkpoint.load_checkpoint(self.checkpoint_path, self.params)
        self.epoch, self.step = state["epoch"], state["step"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best_valid_loss = state["best_valid_loss"]
        self.best_weights = state["best_weights"]
        say(f"resuming after epoch {self.epoch} of {self.epochs}")
        return state["sizes"]

    def summary(self, status):
        """What train.json says, from the rows of steps.csv."""
        with open(self.steps_path, newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            "status": status,
            "steps": len(rows),
            "best_valid_loss": finite(self.best_valid_loss),
            "final_loss": finite(float(rows[-1]["loss"])),
            "seconds_per_step": statistics.median(float(row["seconds"]) for row in rows),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
        }

    def write_outputs(self, status):
        files.replace(
            {
                MODEL: checkpoint.model_bytes(self.network, self.best_weights),
                RESULTS / "steps.csv": self.steps_path.read_bytes(),
                RESULTS / "epochs.csv": self.epochs_path.read_bytes(),
                RESULTS / "train.json": json.dumps(self.summary(status), indent=2).encode() + b"\n",
            }
        )

    def empty_scratch(self):
        for path in (self.checkpoint_path, self.steps_path, self.epochs_path):
            path.unlink(missing_ok=True)


def finite(value):
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def say(line):
    """Print a line of progress, beside a bar if there is one."""
    tqdm.write(line)
    sys.stdout.flush()


@one_line
def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train SVoice as a params.yaml says.")
    parser.add_argument("--params", required=True, metavar="FILE", help="the configuration")
    parser.add_argument(
        "--scratch",
        required=True,
        metavar="DIR",
        type=Path,
        help="where the unfinished training lives, and is found again after an interruption",
    )
    options = parser.parse_args(arguments)
    training = Training(read_params(options.params), options.scratch)
    options.scratch.mkdir(parents=True, exist_ok=True)
    status = training.run()
    training.write_outputs(status)
    training.empty_scratch()


if __name__ == "__main__":
    main()
