"""Where everything on the page comes from."""

import hashlib
import json
from html import escape

from metrics.report.markup import details, missing, table
from metrics.report.results import PARAMS, Workspace

MARGIN = "The files behind every number, what was configured, and where it ran."
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


def _listing(text: str, label: str) -> str:
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}">{escape(text)}</pre>'
