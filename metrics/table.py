"""The scores of a workspace as a plain-text table: `python -m metrics.table`."""

import math
import sys
from pathlib import Path

from metrics.arguments import Parser
from metrics.errors import InputError
from metrics.workspace import (
    BSS_METRICS,
    PERCEPTUAL_METRICS,
    SPEECH_METRICS,
    SPLEETER,
    SVOICE,
    read_json,
)

UNDEFINED = "undefined"  # no finite value


def render(root: Path) -> str:
    """The table of both models' results under `root`; what is missing is named in its place.

    Raises: `InputError` for a file that is there but is not what it should be.
    """
    blocks = [
        _block("Spleeter, music", root, SPLEETER, _bss_rows),
        _block("SVoice, speech", root, SVOICE, _speech_rows),
    ]
    return "\n\n".join(blocks)


def _block(title: str, root: Path, results: Path, rows) -> str:
    lines = [title, "=" * len(title)]
    train, scores = results / "train.json", results / "scores.json"
    if (root / train).is_file():
        lines += [*_training_rows(read_json(root / train), root / train), f"  from {train}"]
    else:
        lines += [f"no training: {train} is missing"]
    if (root / scores).is_file():
        lines += ["", *rows(read_json(root / scores), root / scores), f"  from {scores}"]
    else:
        lines += ["", f"no scores: {scores} is missing"]
    return "\n".join(lines)


def _training_rows(train: dict, path: Path) -> list[str]:
    status = str(_get(train, path, "status"))
    return [
        f"{'status':<22}{status.upper() if status == 'diverged' else status:>10}",
        f"{'steps':<22}{_get(train, path, 'steps'):>10}",
        f"{'best validation loss':<22}{_number(_get(train, path, 'best_valid_loss'), 4)}",
    ]


def _bss_rows(scores: dict, path: Path) -> list[str]:
    columns = [_get(scores, path, metric) for metric in BSS_METRICS]
    lines = [f"{'median, dB':<12}" + "".join(f"{metric:>10}" for metric in BSS_METRICS)]
    for target in columns[0]:
        values = [_get(column, path, target) for column in columns]
        lines.append(f"{target:<12}" + "".join(_number(value) for value in values))
    frames, undefined = (_get(scores, path, key) for key in ("frames", "nan_frames"))
    undefined = f"{sum(undefined.values())} of {sum(frames.values())}"
    return [
        *lines,
        f"{'tracks':<22}{_get(scores, path, 'tracks'):>10}",
        f"{'tracks without scores':<22}{_get(scores, path, 'unscored_tracks'):>10}",
        f"{'NaN frames':<22}{undefined:>10}",
    ]


def _speech_rows(scores: dict, path: Path) -> list[str]:
    perceptual = [(key, name) for key, name in PERCEPTUAL_METRICS.items() if key in scores]
    return [
        "mean, dB",
        *(f"{name:<22}{_number(_get(scores, path, key))}" for key, name in SPEECH_METRICS.items()),
        *(f"{name:<22}{_number(scores[key])}" for key, name in perceptual),
        f"{'mixtures':<22}{_get(scores, path, 'mixtures'):>10}",
        f"{'silent references':<22}{_get(scores, path, 'silent_references'):>10}",
    ]


def _number(value: float | None, digits: int = 2) -> str:
    if value is None or not math.isfinite(value):
        return f"{UNDEFINED:>10}"
    return f"{value:>10.{digits}f}"


def _get(content: dict, path: Path, key: str):
    try:
        return content[key]
    except (KeyError, TypeError) as error:
        raise InputError(path, f"no {key}", "one") from error


if __name__ == "__main__":
    Parser(__doc__).parse_args()
    try:
        print(render(Path()))
    except InputError as error:
        sys.exit(f"ERROR: {error}")
