"""The scores of a workspace as a plain-text table: `python -m report.table`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.layout import DETAILS, TRAIN
from contract.menu import SPLEETER, SVOICE
from contract.models import MODELS, Model
from contract.records import DIVERGED
from contract.scores import BOUNDS, BSS_METRICS, PERCEPTUAL_METRICS, SPEECH_METRICS
from metrics.tables import REMEDY, read_json

UNDEFINED = "undefined"  # stands for a value that is not finite


def render(root: Path) -> str:
    """Returns the table of the results of all models; it names the files that are missing.

    Args:
        root: the workspace.

    Raises:
        InputError: a file is there but wrong.
    """
    return "\n\n".join(_block(root, model) for model in MODELS.values())


def _block(root: Path, model: Model) -> str:
    """Returns the lines about one model."""
    title = f"{model.title}, {model.branch}"
    lines = [title, "=" * len(title)]
    train, scores = model.results / TRAIN, model.results / DETAILS
    if (root / train).is_file():
        lines += [*_training_rows(read_json(root / train), root / train), f"  from {train}"]
    else:
        lines += [f"no training: {train} is missing"]
    if (root / scores).is_file():
        rows = SCORE_ROWS[model.key](read_json(root / scores), root / scores)
        lines += ["", *rows, f"  from {scores}"]
    else:
        lines += ["", f"no scores: {scores} is missing"]
    return "\n".join(lines)


def _training_rows(train: dict[str, Any], path: Path) -> list[str]:
    status = str(_get(train, path, "status"))
    return [
        f"{'status':<22}{status.upper() if status == DIVERGED else status:>10}",
        f"{'steps':<22}{_get(train, path, 'steps'):>10}",
        f"{'best validation loss':<22}{_number(_get(train, path, 'best_valid_loss'), 4)}",
    ]


def _bss_rows(scores: dict[str, Any], path: Path) -> list[str]:
    bounds = _get(scores, path, "bounds")
    sdr, *others = BSS_METRICS
    columns = {
        sdr: _get(scores, path, sdr),
        **{bound: _get(bounds, path, bound) for bound in BOUNDS},
        **{metric: _get(scores, path, metric) for metric in others},
    }
    lines = [f"{'median, dB':<12}" + "".join(f"{name:>10}" for name in columns)]
    for target in columns[sdr]:
        values = [_get(column, path, target) for column in columns.values()]
        lines.append(f"{target:<12}" + "".join(_number(value) for value in values))
    frames, nan_frames = (_get(scores, path, key) for key in ("frames", "nan_frames"))
    undefined = f"{sum(nan_frames.values())} of {sum(frames.values())}"
    return [
        *lines,
        f"{'tracks':<22}{_get(scores, path, 'tracks'):>10}",
        f"{'tracks without scores':<22}{_get(scores, path, 'unscored_tracks'):>10}",
        f"{'NaN frames':<22}{undefined:>10}",
    ]


def _speech_rows(scores: dict[str, Any], path: Path) -> list[str]:
    perceptual = [(key, name) for key, name in PERCEPTUAL_METRICS.items() if key in scores]
    bounds = _get(scores, path, "bounds")
    columns = (scores, *(_get(bounds, path, bound) for bound in BOUNDS))
    lines = [
        f"{name:<22}" + "".join(_number(_get(column, path, key)) for column in columns)
        for key, name in SPEECH_METRICS.items()
    ]
    return [
        f"{'mean, dB':<22}" + "".join(f"{name:>10}" for name in ("SVoice", *BOUNDS)),
        *lines,
        *(f"{name:<22}{_number(scores[key])}" for key, name in perceptual),
        f"{'mixtures':<22}{_get(scores, path, 'mixtures'):>10}",
        f"{'silent references':<22}{_get(scores, path, 'silent_references'):>10}",
    ]


# The lines about the scores of a model, made of the content and the path of details.json.
SCORE_ROWS: dict[str, Callable[[dict[str, Any], Path], list[str]]] = {
    SPLEETER: _bss_rows,
    SVOICE: _speech_rows,
}


def _number(value: float | None, digits: int = 2) -> str:
    if value is None or not math.isfinite(value):
        return f"{UNDEFINED:>10}"
    return f"{value:>10.{digits}f}"


def _get(content: Any, path: Path, key: str) -> Any:
    """Returns the value of a key, or raises an `InputError` that names the file."""
    try:
        return content[key]
    except (KeyError, TypeError) as error:
        raise InputError(path, f"has no {key}", REMEDY) from error


@one_line
def main() -> None:
    """Prints the table of the workspace in the working directory."""
    Parser(__doc__).parse_args()
    print(render(Path()))


if __name__ == "__main__":
    main()
