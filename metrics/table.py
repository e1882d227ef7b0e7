"""The scores of a workspace as a plain-text table: `python -m metrics.table`."""

import math
import sys
from pathlib import Path

from metrics.errors import InputError
from metrics.workspace import BSS_METRICS, SPLEETER, SVOICE, read_json

UNDEFINED = "undefined"  # no finite value


def render(root: Path) -> str:
    """The table of both models' results under `root`; what is missing is named in its place.

    Raises: `InputError` for a file that is there but is not what it should be.
    """
    blocks = [
        _block("Spleeter, music", root, SPLEETER, _bss_rows),
        _block("SVoice, speech", root, SVOICE, _si_snr_rows),
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
    return lines


def _si_snr_rows(scores: dict, path: Path) -> list[str]:
    return [
        "mean, dB",
        f"{'SI-SNR':<22}{_number(_get(scores, path, 'si_snr'))}",
        f"{'SI-SNR improvement':<22}{_number(_get(scores, path, 'si_snr_improvement'))}",
        f"{'mixtures':<22}{_get(scores, path, 'mixtures'):>10}",
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
    try:
        print(render(Path()))
    except InputError as error:
        sys.exit(f"ERROR: {error}")
