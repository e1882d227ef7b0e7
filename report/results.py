"""Reads the results in a workspace, each file if it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from contract.errors import InputError
from contract.layout import (
    ENVIRONMENT,
    EPOCH_COLUMNS,
    EPOCHS,
    HEADLINES,
    MUSIC_SCORE_COLUMNS,
    PARAMS,
    SCORES,
    SPEECH_SCORE_COLUMNS,
    SPLEETER_RESULTS,
    STEP_COLUMNS,
    STEPS,
    SVOICE_RESULTS,
    TRAIN,
)
from contract.menu import SPLEETER, SVOICE
from contract.yaml_files import read_yaml
from metrics.tables import read_json, read_results

LIBRARIES = ("tensorflow", "torch")  # that train a model


@dataclass(frozen=True)
class Model:
    """The results of one model. A part is None if its file is not there.

    Attributes:
        key: the model's, in params.yaml.
        title: its name on the page.
        task: what it is trained for, in words.
        loss: what its training loss is, in words.
        loss_unit: `dB`, or empty.
        results: the folder, relative to the workspace.
        train: train.json.
        steps: steps.csv, one row per optimizer step.
        epochs: epochs.csv, one row per validation.
        scores: scores.csv, one row per track and target, or per mixture and speaker.
        aggregate: scores.json.
        environment: environment.json.
    """

    key: str
    title: str
    task: str
    loss: str
    loss_unit: str
    results: Path
    train: dict[str, Any] | None
    steps: pd.DataFrame | None
    epochs: pd.DataFrame | None
    scores: pd.DataFrame | None
    aggregate: dict[str, Any] | None
    environment: dict[str, Any] | None

    @property
    def diverged(self) -> bool:
        """Whether its loss became infinite or not a number."""
        return self.train is not None and self.train.get("status") == "diverged"


@dataclass(frozen=True)
class Workspace:
    """The configuration and the results of one run.

    Attributes:
        root: the folder.
        params: params.yaml; empty if it is not there.
        spleeter: the results of Spleeter.
        svoice: the results of SVoice.
    """

    root: Path
    params: dict[str, Any]
    spleeter: Model
    svoice: Model

    @property
    def models(self) -> tuple[Model, Model]:
        """Both models, in the order of the page."""
        return self.spleeter, self.svoice

    @classmethod
    def read(cls, root: Path) -> Workspace:
        """Reads a workspace.

        Args:
            root: the folder.

        Raises:
            InputError: a file is there but wrong.
        """
        return cls(
            root,
            _read_params(root / PARAMS),
            _read_model(
                root,
                SPLEETER_RESULTS,
                MUSIC_SCORE_COLUMNS,
                key=SPLEETER,
                title="Spleeter",
                task="music, four stems",
                loss="Mean absolute error of the magnitude spectrograms, summed over the stems",
                loss_unit="",
            ),
            _read_model(
                root,
                SVOICE_RESULTS,
                SPEECH_SCORE_COLUMNS,
                key=SVOICE,
                title="SVoice",
                task="speech, several speakers",
                loss="Negative SI-SNR, weighted over the blocks",
                loss_unit="dB",
            ),
        )


def value_at(params: Any, key: str) -> Any:
    """Returns the value of a key of params.yaml; None if there is none.

    Args:
        params: the configuration.
        key: its path, as `optimizer.svoice.lr`.
    """
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def library(environment: dict[str, Any] | None) -> str:
    """Returns the library that trained a model, as `torch 2.13.0`; empty if it is not known.

    Args:
        environment: the content of environment.json, or None.
    """
    packages = (environment or {}).get("packages", {})
    return next((f"{name} {packages[name]}" for name in LIBRARIES if name in packages), "")


def _read_params(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    params = read_yaml(path)
    if not isinstance(params, dict):
        problem = f"holds a {type(params).__name__} instead of the groups of conf/"
        raise InputError(path, problem, "run `dvc exp run` to compose it")
    return params


def _read_model(
    root: Path, results: Path, score_columns: Sequence[str], **description: str
) -> Model:
    """Reads the results of a model.

    Args:
        root: the workspace.
        results: the folder, relative to the workspace.
        score_columns: what scores.csv must have.
        description: the other attributes of a `Model`.
    """

    def frame(name: str, columns: Sequence[str]) -> pd.DataFrame | None:
        path = root / results / name
        return read_results(path, columns) if path.is_file() else None

    def content(name: str) -> dict[str, Any] | None:
        path = root / results / name
        return read_json(path) if path.is_file() else None

    return Model(
        results=results,
        train=content(TRAIN),
        steps=frame(STEPS, STEP_COLUMNS),
        epochs=frame(EPOCHS, EPOCH_COLUMNS),
        scores=frame(SCORES, score_columns),
        aggregate=content(HEADLINES),
        environment=content(ENVIRONMENT),
        **description,
    )
