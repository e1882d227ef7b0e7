"""What a training writes as it goes: a CSV row per step, one per validation, and the same for
TensorBoard."""

import csv
from contextlib import ExitStack

from svoice.events import Events
from svoice.logs import Log

STEP_COLUMNS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds")
EPOCH_COLUMNS = ("epoch", "step", "train_loss", "valid_loss", "best_valid_loss")

# TensorBoard takes a file for one of its own by the second word of its name.
NAMES = ("steps.csv", "epochs.csv", "tensorboard/events.out.tfevents.svoice")


class Records:
    """The files NAMES of a folder. sizes: their lengths to continue from, as `sync` returned
    them; zeros begin new files."""

    def __init__(self, folder, sizes=(0, 0, 0)):
        steps, epochs, events = (folder / name for name in NAMES)
        with ExitStack() as opened:
            self.steps = opened.enter_context(Log(steps, STEP_COLUMNS, sizes[0]))
            self.epochs = opened.enter_context(Log(epochs, EPOCH_COLUMNS, sizes[1]))
            self.events = opened.enter_context(Events(events, sizes[2]))
            self.opened = opened.pop_all()

    def step(self, *row):
        """A row of STEP_COLUMNS: an optimizer step."""
        self.steps.row(row)
        number, _, *values = row
        self.events.scalars("train", number, dict(zip(STEP_COLUMNS[2:], values, strict=True)))

    def epoch(self, *row):
        """A row of EPOCH_COLUMNS: a validation."""
        self.epochs.row(row)
        _, step, *values = row
        self.events.scalars("validation", step, dict(zip(EPOCH_COLUMNS[2:], values, strict=True)))

    def sync(self):
        """Write all rows to the disk. → the files' sizes in bytes"""
        return self.steps.sync(), self.epochs.sync(), self.events.sync()

    def losses(self, epoch):
        """The losses of an epoch's steps so far."""
        with open(self.steps.path, newline="") as file:
            rows = csv.DictReader(file)
            return [float(row["loss"]) for row in rows if row["epoch"] == str(epoch)]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.opened.close()


def read_column(path, name):
    """The numbers in a column of a CSV file."""
    with open(path, newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]
