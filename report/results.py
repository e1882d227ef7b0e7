"""Reads the results in a workspace, each file if it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from contract.composed import read_groups
from contract.layout import CONFIGURATION, DETAILS, ENVIRONMENT, EPOCHS, SCORES, STEPS, TRAIN
from contract.models import MODELS, Model
from contract.records import DIVERGED, EPOCH_COLUMNS, STEP_COLUMNS, TrainingSummary
from contract.scores import MusicDetails, SpeechDetails
from contract.yaml_files import value_at
from metrics.tables import read_json, read_results

LIBRARIES = ("tensorflow", "torch")  # the libraries that train the models


@dataclass(frozen=True)
class ModelResults(Model):
    """A model with its results in a workspace. A part is None if its file is not there.

    Attributes:
        train: train.json.
        steps: steps.csv, one row per optimizer step.
        epochs: epochs.csv, one row per validation.
        scores: scores.csv, one row per track and target, or per mixture and speaker.
        aggregate: details.json.
        environment: environment.json.
    """

    train: TrainingSummary | None
    steps: pd.DataFrame | None
    epochs: pd.DataFrame | None
    scores: pd.DataFrame | None
    aggregate: MusicDetails | SpeechDetails | None
    environment: dict[str, Any] | None

    @property
    def diverged(self) -> bool:
        """Whether its loss became infinite or not a number."""
        return self.train is not None and self.train.get("status") == DIVERGED

    @property
    def headline(self) -> float | None:
        """The number that stands for its scores, in dB; None if there is none."""
        return value_at(self.aggregate, self.score_key)

    def bound(self, name: str) -> float | None:
        """Returns what the headline lies above or below, in dB; None if it is not known.

        Args:
            name: one of `contract.scores.BOUNDS`.
        """
        return value_at(self.aggregate, f"bounds.{name}.{self.score_key.rpartition('.')[2]}")


@dataclass(frozen=True)
class Workspace:
    """The configuration and the results of one run.

    Attributes:
        root: the folder.
        params: configuration.yaml; empty if it is not there.
        spleeter: the results of Spleeter.
        svoice: the results of SVoice.
    """

    root: Path
    params: dict[str, Any]
    spleeter: ModelResults
    svoice: ModelResults

    @property
    def models(self) -> tuple[ModelResults, ...]:
        """The models, in the order of `contract.models.MODELS`."""
        return tuple(getattr(self, key) for key in MODELS)

    @classmethod
    def read(cls, root: Path) -> Workspace:
        """Reads a workspace.

        Args:
            root: the folder.

        Raises:
            InputError: a file is there but wrong.
        """
        models = {key: _read_results(root, model) for key, model in MODELS.items()}
        params = read_groups(root / CONFIGURATION) if (root / CONFIGURATION).is_file() else {}
        return cls(root, params, **models)


def library(environment: dict[str, Any] | None) -> str:
    """Returns the library that trained a model, as `torch 2.13.0`; empty if it is not known.

    Args:
        environment: the content of environment.json, or None.
    """
    packages = (environment or {}).get("packages", {})
    return next((f"{name} {packages[name]}" for name in LIBRARIES if name in packages), "")


def _read_results(root: Path, model: Model) -> ModelResults:
    """Reads the results of a model in a workspace."""

    def frame(name: str, columns: Sequence[str]) -> pd.DataFrame | None:
        path = root / model.results / name
        return read_results(path, columns) if path.is_file() else None

    def content(name: str) -> dict[str, Any] | None:
        path = root / model.results / name
        return read_json(path) if path.is_file() else None

    return ModelResults(
        **vars(model),
        train=content(TRAIN),
        steps=frame(STEPS, STEP_COLUMNS),
        epochs=frame(EPOCHS, EPOCH_COLUMNS),
        scores=frame(SCORES, model.score_columns),
        aggregate=content(DETAILS),
        environment=content(ENVIRONMENT),
    )
