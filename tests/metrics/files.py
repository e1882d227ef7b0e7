"""The files of a workspace, as the tests make, read and spoil them."""

import json

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


def write_training(root, model, steps=40, status="completed"):
    """The files of a training run: a falling loss, a validation every 10 steps."""
    folder = root / "results" / model
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(steps)
    step = np.arange(1, steps + 1)
    loss = 3 / np.sqrt(step) + 0.1 * rng.random(steps)
    if status == "diverged":
        loss[-1] = np.nan
    columns = {
        "step": step,
        "epoch": (step - 1) // 10 + 1,
        "loss": loss,
        "learning_rate": 0.001 * 0.98 ** (step // 10),
        "gradient_norm": 2 + 6 * rng.random(steps),
        "seconds": 0.5 + 0.1 * rng.random(steps),
    }
    pd.DataFrame(columns).to_csv(folder / "steps.csv", index=False)
    at = step[9::10]
    valid = 3.1 / np.sqrt(at)
    columns = {
        "epoch": np.arange(1, len(at) + 1),
        "step": at,
        "train_loss": [loss[i - 10 : i].mean() for i in at],
        "valid_loss": valid,
        "best_valid_loss": valid,
    }
    pd.DataFrame(columns).to_csv(folder / "epochs.csv", index=False)
    train = {
        "status": status,
        "steps": steps,
        "best_valid_loss": float(valid.min()) if len(at) else None,
        "final_loss": float(loss[-1]) if np.isfinite(loss[-1]) else None,
        "seconds_per_step": 0.55,
        "parameters": 12345,
    }
    (folder / "train.json").write_text(json.dumps(train))


def write_scores(root, model, scores, aggregate):
    folder = root / "results" / model
    scores.to_csv(folder / "scores.csv", index=False)
    (folder / "scores.json").write_text(json.dumps(aggregate, allow_nan=False))
