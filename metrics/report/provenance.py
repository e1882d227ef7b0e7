"""Where everything on the page comes from."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from metrics.experiments import Experiment
from metrics.report.markup import details, download, listing, missing, table
from metrics.report.results import LOCK, PARAMS, Model, Workspace, library
from metrics.yaml_files import read_yaml

MARGIN = "The files behind every number, what was configured, and where it ran."
COMPARED = (
    "Commit, libraries and data of each experiment; unfolded, its whole configuration and the "
    "commands that make it again."
)
CONTENTS = {
    "train.json": "status, steps, losses, parameters",
    "steps.csv": "training loss, learning rate, gradient norm and time of each step",
    "epochs.csv": "validation losses",
    "scores.json": "scores over the test set",
    "scores.csv": "scores of each test item",
    "environment.json": "what the trainer ran in",
}


def render(workspace: Workspace) -> tuple[str, str]:
    root = workspace.root
    rows = []
    for path, content in [
        (PARAMS, "configuration"),
        *(
            (model.results / name, f"{model.title}: {content}")
            for model in workspace.models
            for name, content in CONTENTS.items()
        ),
    ]:
        if (root / path).is_file():
            digest = hashlib.sha256((root / path).read_bytes()).hexdigest()[:16]
        else:
            digest = "missing"
        rows.append([str(path), content, digest])
    files = table(
        ["file", "holds", "SHA-256, first 16 digits"],
        rows,
        "Files this page was made from",
        text_columns=3,
        kind="items",
    )
    parts = [files, "<h3>Configuration</h3>"]
    if (root / PARAMS).is_file():
        text = (root / PARAMS).read_text(encoding="utf-8")
        parts.append(details(str(PARAMS), listing(text, str(PARAMS))))
    else:
        parts.append(missing(PARAMS, "configuration"))
    parts.append("<h3>Environments</h3>")
    for model in workspace.models:
        path = model.results / "environment.json"
        if model.environment is None:
            parts.append(missing(path, f"environment of {model.title}"))
        else:
            text = _json(model.environment)
            parts.append(details(f"{model.title}: {path}", listing(text, str(path))))
    return MARGIN, "".join(parts)


def compare(experiments: Sequence[Experiment]) -> tuple[str, str]:
    """What stands behind each of several experiments, and how to have it again."""
    rows = [
        [
            each.name,
            each.commit[:10],
            *(_ran_on(model) for model in each.workspace.models),
            *(_data(each.workspace.root, folder) for folder in ("data/music", "data/speech")),
        ]
        for each in experiments
    ]
    head = ["experiment", "commit", "Spleeter on", "SVoice on", "music, md5", "speech, md5"]
    parts = [
        table(head, rows, "Where each comes from", text_columns=6, kind="items"),
        download("provenance.csv", pd.DataFrame(rows, columns=head)),
    ]
    for each in experiments:
        path = each.workspace.root / PARAMS
        text = path.read_text(encoding="utf-8") if path.is_file() else "missing\n"
        again = f"git checkout {each.commit}\ndvc repro\n"
        held = "".join(
            details(f"{model.title}: environment", listing(_json(model.environment), model.title))
            for model in each.workspace.models
            if model.environment
        )
        parts.append(
            details(each.name, listing(f"{again}\n{text}", f"{each.name}: {PARAMS}") + held)
        )
    return COMPARED, "".join(parts)


def _ran_on(model: Model) -> str:
    """Hardware, environment and library."""
    if model.train is None:
        return "not trained"
    runtime = (model.environment or {}).get("runtime")
    where = [model.train.get("hardware"), runtime, library(model.environment)]
    return ", ".join(filter(None, where)) or "missing"


def _json(content: dict) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)


def _data(root: Path, folder: str) -> str:
    """The checksums in dvc.lock of what lies in a folder: the first digits."""
    path = root / LOCK
    if not path.is_file():
        return "missing"
    stages = read_yaml(path).get("stages", {}).values()
    outs = [out for stage in stages for out in stage.get("outs", [])]
    found = [out["md5"][:10] for out in outs if f"{out['path']}/".startswith(f"{folder}/")]
    return ", ".join(found) or "missing"
