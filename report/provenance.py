"""The section about where everything on the page comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from contract.dvc_lock import outputs
from contract.files import sha256
from contract.layout import CONFIGURATION, DETAILS, ENVIRONMENT, EPOCHS, LOCK, SCORES, STEPS, TRAIN
from contract.models import MODELS
from contract.yaml_files import read_yaml
from report.experiments import Experiment
from report.markup import details, download, listing, missing, table
from report.results import ModelResults, Workspace, library

MARGIN = "The files that every number comes from, the configuration, and the environments."
COMPARED = (
    "The commit, the hardware, the libraries and the data of each experiment. An entry unfolds to "
    "the whole configuration and the commands that repeat the experiment."
)
CONTENTS = {
    TRAIN: "status, steps, losses, parameters",
    STEPS: "training loss, learning rate, gradient norm and time of each step",
    EPOCHS: "validation losses",
    DETAILS: "scores over the test set",
    SCORES: "scores of each test item",
    ENVIRONMENT: "the trainer's environment",
}
HEX_DIGITS, SHORT_HEX_DIGITS = 16, 10  # how many digits of a checksum are shown


def render(workspace: Workspace) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML about one run.

    Args:
        workspace: the workspace of the run.
    """
    root = workspace.root
    contents = {CONFIGURATION: "configuration"}
    for model in workspace.models:
        for name, content in CONTENTS.items():
            contents[model.results / name] = f"{model.title}: {content}"
    files = table(
        ["file", "holds", f"SHA-256, first {HEX_DIGITS} digits"],
        [[str(path), content, _checksum(root / path)] for path, content in contents.items()],
        "Files this page was made from",
        text_columns=3,
        kind="items",
    )
    parts = [files, "<h3>Configuration</h3>"]
    if (root / CONFIGURATION).is_file():
        text = (root / CONFIGURATION).read_text(encoding="utf-8")
        parts.append(details(str(CONFIGURATION), listing(text, str(CONFIGURATION))))
    else:
        parts.append(missing(CONFIGURATION, "configuration"))
    parts.append("<h3>Environments</h3>")
    for model in workspace.models:
        path = model.results / ENVIRONMENT
        if model.environment is None:
            parts.append(missing(path, f"environment of {model.title}"))
        else:
            text = _json(model.environment)
            parts.append(details(f"{model.title}: {path}", listing(text, str(path))))
    return MARGIN, "".join(parts)


def _checksum(path: Path) -> str:
    """Returns the first digits of a file's SHA-256, or `missing`."""
    if not path.is_file():
        return "missing"
    return sha256(path)[:HEX_DIGITS]


def compare(experiments: Sequence[Experiment]) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML about several experiments.

    Args:
        experiments: all of them.
    """
    rows = [
        [
            experiment.name,
            experiment.commit[:SHORT_HEX_DIGITS],
            *(_ran_on(model) for model in experiment.workspace.models),
            *(_data(experiment.workspace.root, model.data) for model in MODELS.values()),
        ]
        for experiment in experiments
    ]
    head = ["experiment", "commit", *(f"{model.title} on" for model in MODELS.values())]
    head += [f"{model.branch}, md5" for model in MODELS.values()]
    parts = [
        table(head, rows, "Where each experiment comes from", text_columns=6, kind="items"),
        download("provenance.csv", pd.DataFrame(rows, columns=head)),
    ]
    for experiment in experiments:
        name, workspace = experiment.name, experiment.workspace
        path = workspace.root / CONFIGURATION
        configuration = path.read_text(encoding="utf-8") if path.is_file() else "missing\n"
        commands = f"git checkout {experiment.commit}\ndvc repro\n"
        environments = "".join(
            details(f"{model.title}: environment", listing(_json(model.environment), model.title))
            for model in workspace.models
            if model.environment
        )
        text = listing(f"{commands}\n{configuration}", f"{name}: {CONFIGURATION}")
        parts.append(details(name, text + environments))
    return COMPARED, "".join(parts)


def _ran_on(model: ModelResults) -> str:
    """Returns the hardware, the runtime and the library that trained a model."""
    if model.train is None:
        return "not trained"
    runtime = (model.environment or {}).get("runtime")
    parts = [model.train.get("hardware"), runtime, library(model.environment)]
    return ", ".join(filter(None, parts)) or "missing"


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)


def _data(root: Path, folder: Path) -> str:
    """Returns the first digits of the checksums that dvc.lock has of what lies in a folder."""
    path = root / LOCK
    if not path.is_file():
        return "missing"
    checksums = [
        output["md5"][:SHORT_HEX_DIGITS]
        for output in outputs(read_yaml(path))
        if Path(output["path"]).is_relative_to(folder)
    ]
    return ", ".join(checksums) or "missing"
