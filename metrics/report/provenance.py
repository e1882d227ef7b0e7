"""Where everything on the page comes from."""

import hashlib
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import yaml

from metrics.experiments import Experiment
from metrics.report.markup import details, missing, table
from metrics.report.results import PARAMS, Workspace

MARGIN = "The files behind every number, what was configured, and where it ran."
COMPARED = (
    "Commit, libraries and data of each experiment; unfolded, its whole configuration and the "
    "commands that make it again."
)
LIBRARIES = ("tensorflow", "torch")
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
        parts.append(details(str(PARAMS), _listing(text, str(PARAMS))))
    else:
        parts.append(missing(PARAMS, "configuration"))
    parts.append("<h3>Environments</h3>")
    for model in workspace.models:
        path = model.results / "environment.json"
        if model.environment is None:
            parts.append(missing(path, f"environment of {model.title}"))
        else:
            text = json.dumps(model.environment, indent=2, ensure_ascii=False)
            parts.append(details(f"{model.title}: {path}", _listing(text, str(path))))
    return MARGIN, "".join(parts)


def compare(experiments: Sequence[Experiment]) -> tuple[str, str]:
    """What stands behind each of several experiments, and how to have it again."""
    rows = [
        [
            each.name,
            each.commit[:10],
            *(_ran_in(model.environment) for model in each.workspace.models),
            *(_data(each.workspace.root, folder) for folder in ("data/music", "data/speech")),
        ]
        for each in experiments
    ]
    head = ["experiment", "commit", "Spleeter in", "SVoice in", "music, md5", "speech, md5"]
    parts = [table(head, rows, "Where each comes from", text_columns=6, kind="items")]
    for each in experiments:
        path = each.workspace.root / PARAMS
        text = path.read_text(encoding="utf-8") if path.is_file() else "missing\n"
        again = f"git checkout {each.commit}\ndvc repro\n"
        parts.append(details(each.name, _listing(f"{again}\n{text}", f"{each.name}: {PARAMS}")))
    return COMPARED, "".join(parts)


def _ran_in(environment: dict | None) -> str:
    if environment is None:
        return "missing"
    packages = environment.get("packages", {})
    library = next((f"{name} {packages[name]}" for name in LIBRARIES if name in packages), "")
    return ", ".join(filter(None, [environment.get("runtime"), library]))


def _data(root: Path, folder: str) -> str:
    """The checksums in dvc.lock of what lies in a folder: the first digits."""
    path = root / "dvc.lock"
    if not path.is_file():
        return "missing"
    stages = yaml.safe_load(path.read_text(encoding="utf-8")).get("stages", {}).values()
    outs = [out for stage in stages for out in stage.get("outs", [])]
    found = [out["md5"][:10] for out in outs if f"{out['path']}/".startswith(f"{folder}/")]
    return ", ".join(found) or "missing"


def _listing(text: str, label: str) -> str:
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}">{escape(text)}</pre>'
