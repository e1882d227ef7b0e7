"""Writes, reads and changes the lists, records and scores of a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from contract.layout import (
    DETAILS,
    EPOCHS,
    MUSIC_BOUNDS,
    MUSIC_TEST,
    SCORES,
    SPEECH_BOUNDS,
    SPEECH_TEST,
    STEPS,
    TRAIN,
)
from contract.records import EPOCH_COLUMNS, STEP_COLUMNS
from contract.scores import (
    BOUNDS,
    BSS_METRICS,
    MUSIC_BOUND_COLUMNS,
    SPEECH_BOUND_COLUMNS,
    SPEECH_METRICS,
)
from contract.sources import STEMS

TARGETS = list(STEMS)
MUSIC_SECONDS = 0.6  # enough for two windows of 0.25 s, and quick


def write_audio(path: Path, samples: Any, rate: int) -> None:
    """Writes a WAV file of 32-bit floats.

    Args:
        path: the file; its folder is made if it is missing.
        samples: (samples,) or (samples, channels).
        rate: the sample rate in Hz.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples), rate, subtype="FLOAT")


def list_path(root: Path, branch: str) -> Path:
    """Returns the test list of a branch, `music` or `speech`."""
    return root / {"music": MUSIC_TEST, "speech": SPEECH_TEST}[branch]


def read_list(root: Path, branch: str) -> list[dict[str, Any]]:
    """Returns the rows of a branch's test list."""
    return pd.read_csv(list_path(root, branch)).to_dict("records")


def rewrite_list(root: Path, branch: str, **columns: Any) -> None:
    """Replaces values in the first row of a branch's test list.

    Args:
        root: the workspace.
        branch: `music` or `speech`.
        columns: the new values, by column.
    """
    path = list_path(root, branch)
    frame = pd.read_csv(path)
    for column, value in columns.items():
        frame[column] = frame[column].astype(object)
        frame.loc[0, column] = value
    frame.to_csv(path, index=False)


def write_training(root: Path, model: str, steps: int = 40, status: str = "completed") -> None:
    """Writes the records of a training with a falling loss and a validation every 10 steps.

    Args:
        root: the workspace.
        model: `spleeter` or `svoice`.
        steps: the number of optimizer steps.
        status: `completed`, or `diverged` with NaN as the last loss.
    """
    folder = root / "results" / model
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(steps)
    step = np.arange(1, steps + 1)
    loss = 3 / np.sqrt(step) + 0.1 * rng.random(steps)
    if status == "diverged":
        loss[-1] = np.nan
    step_table = {
        "step": step,
        "epoch": (step - 1) // 10 + 1,
        "loss": loss,
        "learning_rate": 0.001 * 0.98 ** (step // 10),
        "gradient_norm": 2 + 6 * rng.random(steps),
        "seconds": 0.5 + 0.1 * rng.random(steps),
    }
    pd.DataFrame(step_table, columns=STEP_COLUMNS).to_csv(folder / STEPS, index=False)
    validated = step[9::10]
    valid_loss = 3.1 / np.sqrt(validated)
    epoch_table = {
        "epoch": np.arange(1, len(validated) + 1),
        "step": validated,
        "train_loss": [loss[last - 10 : last].mean() for last in validated],
        "valid_loss": valid_loss,
        "best_valid_loss": valid_loss,
    }
    pd.DataFrame(epoch_table, columns=EPOCH_COLUMNS).to_csv(folder / EPOCHS, index=False)
    train = {
        "status": status,
        "steps": steps,
        "best_valid_loss": float(valid_loss.min()) if len(validated) else None,
        "final_loss": float(loss[-1]) if np.isfinite(loss[-1]) else None,
        "seconds_per_step": 0.55,
        "parameters": 12345,
    }
    (folder / TRAIN).write_text(json.dumps(train))


def write_scores(root: Path, model: str, scores: pd.DataFrame, aggregate: dict[str, Any]) -> None:
    """Writes a model's scores.

    Args:
        root: the workspace.
        model: `spleeter` or `svoice`.
        scores: the scores of each item.
        aggregate: the headline numbers.
    """
    folder = root / "results" / model
    scores.to_csv(folder / SCORES, index=False)
    (folder / DETAILS).write_text(json.dumps(aggregate, allow_nan=False))


def write_bounds(root: Path) -> None:
    """Writes made-up bounds of the scores, as `bound_music` and `bound_speech` write them."""
    music = [
        {"bound": bound, "track": "a", "target": target, "frames": 1, "nan_frames": 0}
        | dict.fromkeys(BSS_METRICS, value)
        for bound, value in zip(BOUNDS, (-5.0, 9.0), strict=True)
        for target in TARGETS
    ]
    speech = [
        {"bound": bound, "mixture": "a", "speaker": "s1"} | dict.fromkeys(SPEECH_METRICS, value)
        for bound, value in zip(BOUNDS, (0.0, 12.0), strict=True)
    ]
    for path, rows, columns in (
        (MUSIC_BOUNDS, music, MUSIC_BOUND_COLUMNS),
        (SPEECH_BOUNDS, speech, SPEECH_BOUND_COLUMNS),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=columns).to_csv(root / path, index=False)
