"""The files of a workspace, as the tests make, read and spoil them."""

import numpy as np
import pandas as pd
import soundfile

TARGETS = ["vocals", "drums", "bass", "other"]
MUSIC_SECONDS = 0.6  # enough for two windows of 0.25 s, and quick


def write(path, samples, rate):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples), rate, subtype="FLOAT")


def read_list(root, branch):
    return pd.read_csv(root / f"data/csv/{branch}/test.csv").to_dict("records")


def rewrite_list(root, branch, **columns):
    """Replaces values of the first row of a test list."""
    path = root / f"data/csv/{branch}/test.csv"
    frame = pd.read_csv(path)
    for column, value in columns.items():
        frame[column] = frame[column].astype(object)
        frame.loc[0, column] = value
    frame.to_csv(path, index=False)
