"""What was run and what came of it."""

from html import escape

from metrics.report.markup import (
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
from metrics.report.results import PARAMS, Model, Workspace
from metrics.workspace import unscored

MARGIN = "What was run, and what came of it."


def title(workspace: Workspace) -> str:
    names = _names(workspace.params)
    return escape(" · ".join(names.values()) if names else "Training report")


def heading(workspace: Workspace) -> str:
    """The masthead: the choices under study, the outcome in a sentence, divergences."""
    names = {key: f"<em>{escape(name)}</em>" for key, name in _names(workspace.params).items()}
    if names:
        clipping = "no clipping" if "none" in names["clipping"] else f"{names['clipping']} clipping"
        title = f"{names['optimizer']} with {names['schedule']} schedule and {clipping}"
    else:
        title = "Training report"
    outcome = " and ".join(filter(None, (_outcome(model) for model in workspace.models)))
    alarms = "".join(_divergence(model) for model in workspace.models if model.diverged)
    return (
        '<p class="eyebrow">Source separation: optimizer, schedule and clipping</p>'
        f"<h1>{title}</h1>"
        + (f'<p class="lede">On the test set, {outcome}.</p>' if outcome else "")
        + alarms
    )


def render(workspace: Workspace) -> tuple[str, str]:
    runs = "".join(_run(model) for model in workspace.models)
    settings = _settings(workspace) if workspace.params else missing(PARAMS, "parameters")
    return MARGIN, f'<div class="runs">{runs}</div>{settings}'


def _names(params: dict) -> dict[str, str]:
    keys = ("optimizer", "schedule", "clipping")
    if not all(isinstance(params.get(key), dict) and "name" in params[key] for key in keys):
        return {}
    return {key: str(params[key]["name"]) for key in keys}


def _headline(model: Model) -> tuple[float | None, str, str] | None:
    """The one number for a model's scores: value in dB, its name, what it is taken over."""
    if model.aggregate is None:
        return None
    if model.key == "spleeter":
        value = model.aggregate.get("SDR", {}).get("mean")
        scores = model.scores
        tracks = 0 if scores is None else scores["track"].nunique() - len(unscored(scores))
        over = f" of {plural(tracks, 'track')}" if tracks else ""
        return value, "SDR", f"median over the frames{over}, mean over the stems"
    count = model.aggregate.get("mixtures")
    over = f" of {plural(count, 'mixture')}" if count else ""
    value = model.aggregate.get("si_snr_improvement")
    return value, "SI-SNR improvement", f"mean over the speakers{over}"


def _outcome(model: Model) -> str:
    found = _headline(model)
    if model.diverged or found is None or found[0] is None:
        return ""
    value, name, _ = found
    return f"{escape(model.title)} reaches an {name} of {number(value, 1)} dB"


def _divergence(model: Model) -> str:
    train = model.train or {}
    weights = (
        "the initial weights, for none had been validated"
        if train.get("best_valid_loss") is None
        else "the weights with the best validation loss until then"
    )
    return notice(
        f"<strong>▲ {escape(model.title)} diverged at step {train.get('steps', '?')}.</strong> "
        "The loss became infinite or not a number, and training stopped. That is a result, "
        f"not an error. Scores and estimates are from {weights}.",
        alert=True,
    )


def _run(model: Model) -> str:
    parts = [f"<h3>{escape(model.title)}</h3>"]
    if model.train is None:
        parts.append(f'<p class="status">{escape(model.task)} · not trained</p>')
        parts.append(missing(model.results / "train.json", "training"))
    else:
        status = str(model.train.get("status", "unknown"))
        mark = "▲ " if model.diverged else ""
        parts.append(
            f'<p class="status{" diverged" if model.diverged else ""}">'
            f"{escape(model.task)} · {mark}{escape(status)}</p>"
        )
    found = _headline(model)
    if found is None:
        parts.append(missing(model.results / "scores.json", "scores"))
    else:
        value, name, over = found
        parts.append(
            f'<p class="headline">{number(value)} <small>dB</small></p>'
            f'<p class="label">{escape(name)}, {escape(over)}</p>'
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
            "on": train.get("hardware", UNDEFINED),
        }
        entries = "".join(
            f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items()
        )
        parts.append(f"<dl>{entries}</dl>")
        paths.append(model.results / "train.json")
    if found is not None:
        paths.append(model.results / "scores.json")
    if paths:
        parts.append(source(*paths))
    return f'<div class="run">{"".join(parts)}</div>'


def _loss(model: Model, key: str) -> str:
    value = significant(model.train.get(key))
    return f"{value} {model.loss_unit}".strip() if value != UNDEFINED else value


def _count(value: int | None) -> str:
    return UNDEFINED if value is None else f"{value:,}"


def _settings(workspace: Workspace) -> str:
    params = workspace.params

    def group(name: str) -> dict:
        found = params.get(name)
        return found if isinstance(found, dict) else {}

    def named(name: str, values: dict) -> str:
        listed = ", ".join(f"{key} {value}" for key, value in values.items() if key != "name")
        return f"{name}: {listed}" if listed else str(name)

    optimizer = group("optimizer")
    schedule, clipping = (
        named(group(key).get("name", UNDEFINED), group(key)) for key in ("schedule", "clipping")
    )
    name = optimizer.get("name", UNDEFINED)
    rows = [
        ("data", group("music").get("name", UNDEFINED), group("speech").get("name", UNDEFINED)),
        ("preset", *(group(model.key).get("name", UNDEFINED) for model in workspace.models)),
        ("optimizer", *(named(name, optimizer.get(m.key) or {}) for m in workspace.models)),
        ("schedule", schedule, schedule),
        ("clipping", clipping, clipping),
        ("seed", params.get("seed", UNDEFINED), params.get("seed", UNDEFINED)),
    ]
    head = ["", *(model.title for model in workspace.models)]
    made = table(head, rows, "What was set", text_columns=3, kind="wide")
    return made + f'<p class="source">From {code(PARAMS)}, whole under Provenance</p>'
