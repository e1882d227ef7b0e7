"""TensorBoard's event files, read by TensorBoard itself, and the tables that they repeat."""

import csv

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def events(folder):
    """Returns all scalars of the event files in a folder: {tag: [(step, value), …]}."""
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return {
        tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for tag in read.Tags()["scalars"]
    }


def rows(folder):
    """Returns the same from the tables in a folder, rounded to 32 bits as in an event file."""
    expected = {}
    for group, name in (("train", "steps"), ("validation", "epochs")):
        with open(folder / f"{name}.csv", newline="") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                del row["epoch"]
                for column, value in row.items():
                    value = float(np.float32(value))
                    expected.setdefault(f"{group}/{column}", []).append((step, value))
    return expected
