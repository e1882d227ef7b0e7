"""The section about what was run and what came of it, and the masthead of the page."""

from __future__ import annotations

from html import escape
from typing import Any

from contract.layout import CONFIGURATION, DETAILS, TRAIN
from contract.menu import GROUPS, SPLEETER
from metrics.tables import unscored
from report.markup import (
    UNDEFINED,
    code,
    missing,
    notice,
    number,
    plural,
    significant,
    source,
    table,
)
from report.results import ModelResults, Workspace

MARGIN = "What was run, and what came of it."


def title(workspace: Workspace) -> str:
    """Returns the title of the page, as HTML.

    Args:
        workspace: the workspace of the run.
    """
    names = _names(workspace.params)
    return escape(" · ".join(names.values()) if names else "Training report")


def heading(workspace: Workspace) -> str:
    """Returns the masthead: the choices under study, the scores in a sentence, divergences.

    Args:
        workspace: the workspace of the run.
    """
    names = _names(workspace.params)
    if names:
        optimizer, schedule, clipping = (f"<em>{escape(names[key])}</em>" for key in GROUPS)
        clipping = "no clipping" if names["clipping"] == "none" else f"{clipping} clipping"
        title = f"{optimizer} with {schedule} schedule and {clipping}"
    else:
        title = "Training report"
    outcome = " and ".join(filter(None, (_outcome(model) for model in workspace.models)))
    divergences = "".join(_divergence(model) for model in workspace.models if model.diverged)
    return (
        '<p class="eyebrow">Source separation: optimizer, schedule and clipping</p>'
        f"<h1>{title}</h1>"
        + (f'<p class="lede">On the test set, {outcome}.</p>' if outcome else "")
        + divergences
    )


def render(workspace: Workspace) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML.

    Args:
        workspace: the workspace of the run.
    """
    runs = "".join(_run(model) for model in workspace.models)
    settings = _settings(workspace) if workspace.params else missing(CONFIGURATION, "parameters")
    return MARGIN, f'<div class="runs">{runs}</div>{settings}'


def _names(params: dict[str, Any]) -> dict[str, str]:
    """Returns the names of the choices under study; none if configuration.yaml lacks one."""
    if not all(isinstance(params.get(key), dict) and "name" in params[key] for key in GROUPS):
        return {}
    return {key: str(params[key]["name"]) for key in GROUPS}


def _taken_over(model: ModelResults) -> str:
    """Returns what the headline of a model that has scores is taken over."""
    if model.key == SPLEETER:
        scores = model.scores
        tracks = 0 if scores is None else scores["track"].nunique() - len(unscored(scores))
        over = f" of {plural(tracks, 'track')}" if tracks else ""
        return f"median over the frames{over}, mean over the stems"
    count = model.aggregate.get("mixtures")
    over = f" of {plural(count, 'mixture')}" if count else ""
    return f"mean over the speakers{over}"


def _outcome(model: ModelResults) -> str:
    """Returns the clause about the score of a model; empty if there is none."""
    if model.diverged or model.headline is None:
        return ""
    return f"{escape(model.title)} reaches an {model.score} of {number(model.headline, 1)} dB"


def _divergence(model: ModelResults) -> str:
    """Returns the notice that a model diverged."""
    train = model.train or {}
    weights = (
        "the initial weights, because there was no validation before"
        if train.get("best_valid_loss") is None
        else "the weights that had the best validation loss until then"
    )
    return notice(
        f"<strong>▲ {escape(model.title)} diverged at step {train.get('steps', '?')}.</strong> "
        "The loss became infinite or not a number, and training stopped. That is a result, "
        f"not an error. Scores and estimates are from {weights}.",
        alert=True,
    )


def _run(model: ModelResults) -> str:
    """Returns the column about one model."""
    parts = [f"<h3>{escape(model.title)}</h3>"]
    if model.train is None:
        parts.append(f'<p class="status">{escape(model.task)} · not trained</p>')
        parts.append(missing(model.results / TRAIN, "training"))
    else:
        status = str(model.train.get("status", "unknown"))
        mark = "▲ " if model.diverged else ""
        parts.append(
            f'<p class="status{" diverged" if model.diverged else ""}">'
            f"{escape(model.task)} · {mark}{escape(status)}</p>"
        )
    if model.aggregate is None:
        parts.append(missing(model.results / DETAILS, "scores"))
    else:
        parts.append(
            f'<p class="headline">{number(model.headline)} <small>dB</small></p>'
            f'<p class="label">{escape(model.score)}, {escape(_taken_over(model))}</p>'
        )
    paths = []
    if model.train is not None:
        train = model.train
        rows = {
            "steps": _count(train.get("steps")),
            "best validation loss": _loss(model, "best_valid_loss"),
            "final training loss": _loss(model, "final_loss"),
            "seconds per step, median": significant(train.get("seconds_per_step"), 3),
            "parameters": _count(train.get("parameters")),
            "hardware": train.get("hardware", UNDEFINED),
        }
        entries = "".join(
            f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items()
        )
        parts.append(f"<dl>{entries}</dl>")
        paths.append(model.results / TRAIN)
    if model.aggregate is not None:
        paths.append(model.results / DETAILS)
    if paths:
        parts.append(source(*paths))
    return f'<div class="run">{"".join(parts)}</div>'


def _loss(model: ModelResults, key: str) -> str:
    value = significant(model.train.get(key))
    return f"{value} {model.loss_unit}".strip() if value != UNDEFINED else value


def _count(value: int | None) -> str:
    return UNDEFINED if value is None else f"{value:,}"


def _settings(workspace: Workspace) -> str:
    """Returns the table of what was chosen."""
    params = workspace.params

    def group(name: str) -> dict[str, Any]:
        values = params.get(name)
        return values if isinstance(values, dict) else {}

    def choice(name: str, values: dict[str, Any]) -> str:
        """Returns a choice with its settings, as `norm: max_norm 5.0`."""
        settings = ", ".join(f"{key} {value}" for key, value in values.items() if key != "name")
        return f"{name}: {settings}" if settings else str(name)

    optimizer = group("optimizer")
    schedule, clipping = (
        choice(group(key).get("name", UNDEFINED), group(key)) for key in ("schedule", "clipping")
    )
    name = optimizer.get("name", UNDEFINED)
    rows = [
        ("data", group("music").get("name", UNDEFINED), group("speech").get("name", UNDEFINED)),
        ("preset", *(group(model.key).get("name", UNDEFINED) for model in workspace.models)),
        (
            "optimizer",
            *(choice(name, optimizer.get(model.key) or {}) for model in workspace.models),
        ),
        ("schedule", schedule, schedule),
        ("clipping", clipping, clipping),
        ("seed", params.get("seed", UNDEFINED), params.get("seed", UNDEFINED)),
    ]
    head = ["", *(model.title for model in workspace.models)]
    settings = table(head, rows, "Settings", text_columns=3, kind="wide")
    where = f'<p class="source">From {code(CONFIGURATION)}, which Provenance shows in full</p>'
    return settings + where
