"""What a workspace holds for the report: each part read if it is there."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from metrics.errors import InputError
from metrics.workspace import (
    BSS_METRICS,
    SPEECH_METRICS,
    SPLEETER,
    SVOICE,
    read_json,
    read_results,
)
from metrics.yaml_files import read_yaml

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
LIBRARIES = ("tensorflow", "torch")
STEP_COLUMNS = ["step", "loss", "learning_rate", "gradient_norm", "seconds"]
EPOCH_COLUMNS = ["epoch", "step", "valid_loss", "best_valid_loss"]


@dataclass(frozen=True)
class Model:
    """One model's results. `None`: the file is not there."""

    key: str  # as in params.yaml
    title: str
    task: str
    loss: str  # what its training loss is
    loss_unit: str
    results: Path  # relative to the workspace
    train: dict | None
    steps: pd.DataFrame | None
    epochs: pd.DataFrame | None
    scores: pd.DataFrame | None
    aggregate: dict | None  # scores.json
    environment: dict | None

    @property
    def diverged(self) -> bool:
        return self.train is not None and self.train.get("status") == "diverged"


@dataclass(frozen=True)
class Workspace:
    root: Path
    params: dict
    spleeter: Model
    svoice: Model

    @property
    def models(self) -> tuple[Model, Model]:
        return self.spleeter, self.svoice

    @classmethod
    def read(cls, root: Path) -> "Workspace":
        """Raises: `InputError` for a file that is there but is not what it should be."""
        return cls(
            root,
            _read_params(root / PARAMS),
            _read_model(
                root,
                SPLEETER,
                ["track", "target", *BSS_METRICS, "frames", "nan_frames"],
                key="spleeter",
                title="Spleeter",
                task="music, four stems",
                loss="Mean absolute error of the magnitude spectrograms, summed over the stems",
                loss_unit="",
            ),
            _read_model(
                root,
                SVOICE,
                ["mixture", "speaker", "estimate", *SPEECH_METRICS],
                key="svoice",
                title="SVoice",
                task="speech, several speakers",
                loss="Negative SI-SNR, weighted over the blocks",
                loss_unit="dB",
            ),
        )


def value_at(params: dict, key: str):
    """Of `optimizer.svoice.lr`, say, the value in params.yaml; None if there is none."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def library(environment: dict | None) -> str:
    """What a model was trained with, as in `torch 2.13.0`; empty if that is not known."""
    packages = (environment or {}).get("packages", {})
    return next((f"{name} {packages[name]}" for name in LIBRARIES if name in packages), "")


def _read_params(path: Path) -> dict:
    if not path.is_file():
        return {}
    params = read_yaml(path)
    if not isinstance(params, dict):
        raise InputError(path, f"a {type(params).__name__}", "a mapping")
    return params


def _read_model(root: Path, results: Path, score_columns: list[str], **about: str) -> Model:
    def frame(name: str, columns: list[str]) -> pd.DataFrame | None:
        path = root / results / name
        return read_results(path, columns) if path.is_file() else None

    def content(name: str) -> dict | None:
        path = root / results / name
        return read_json(path) if path.is_file() else None

    return Model(
        results=results,
        train=content("train.json"),
        steps=frame("steps.csv", STEP_COLUMNS),
        epochs=frame("epochs.csv", EPOCH_COLUMNS),
        scores=frame("scores.csv", score_columns),
        aggregate=content("scores.json"),
        environment=content("environment.json"),
        **about,
    )
