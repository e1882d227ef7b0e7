"""The scores of the speech branch: SI-SNR and SDR of SVoice's estimates of the test mixtures, and
PESQ and STOI where they are wanted."""

from pathlib import Path

import numpy as np
import pandas as pd

from metrics import audio, perception
from metrics.errors import InputError
from metrics.numbers import finite_or_none
from metrics.score_all import Item, Unfinished, score_all
from metrics.si_snr import score_speakers
from metrics.workspace import SPEECH_METRICS, SPEECH_TEST, SVOICE, read_speech_list, speakers

BATCH = 8  # mixtures that a worker gets at once


def score_speech(
    root: Path,
    kept: Unfinished,
    pesq: bool = False,
    stoi: bool = False,
    workers: int | None = None,
) -> pd.DataFrame:
    """Scores every mixture of the speech test list under `root`.

    Returns one row per mixture × speaker: `mixture` (file name without suffix), `speaker`
    (the reference), `estimate` (the one matched to it by the best permutation), `si_snr`,
    `si_snr_improvement`, `sdr_improvement` (dB), and `pesq` and `stoi` if wanted. When these are
    NaN or infinite: `metrics.si_snr`, `metrics.sdr`, `metrics.perception`.
    Raises: `BadFilesError` for mixtures with a missing or unreadable file, or one unlike its
    mixture, after the others were scored and kept; `InputError` for a bad list or a library that is
    not installed.
    """
    listed = root / SPEECH_TEST
    mixtures = read_speech_list(listed)
    names = speakers(mixtures)
    wanted = perception.libraries(pesq, stoi)
    estimates = root / SVOICE / "estimates"
    rows = mixtures.to_dict("records")
    items = [
        Item(
            (
                root / row["mix_path"],
                *(root / row[f"{name}_path"] for name in names),
                *(estimates / name / row["file"] for name in names),
            ),
            (int(row["length"]), int(row["sample_rate"]), str(listed), wanted),
        )
        for row in rows
    ]
    results = score_all(_score, items, kept, "scoring speech", "mixture", workers, BATCH)
    return pd.DataFrame(
        [
            {
                "mixture": Path(row["file"]).stem,
                "speaker": name,
                "estimate": names[scores["order"][speaker]],
                **{metric: scores[metric][speaker] for metric in (*SPEECH_METRICS, *wanted)},
            }
            for row, scores in zip(rows, results, strict=True)
            for speaker, name in enumerate(names)
        ]
    )


def aggregate_speech(scores: pd.DataFrame) -> dict[str, float | int | None]:
    """What `scores.json` holds: the mean over mixtures × speakers of each metric, `mixtures`, and
    `silent_references`, how many rows have no SI-SNR (NaN) because there was nothing to find.

    Those are left out of the means; an estimate that found nothing (minus infinity) leaves no mean
    in dB. PESQ and STOI are over the rows that have one. None: no finite value.
    """
    metrics = [column for column in scores if column not in ("mixture", "speaker", "estimate")]
    return {
        **{metric: finite_or_none(scores[metric].mean()) for metric in metrics},
        "mixtures": int(scores["mixture"].nunique()),
        "silent_references": int(scores["si_snr"].isna().sum()),
    }


def _score(
    files: tuple[Path, ...],
    threads: int,
    length: int,
    sample_rate: int,
    listed: str,
    wanted: dict[str, str],
) -> dict[str, list]:
    """`{metric: [value of a speaker, …]}`, and the `order` of the estimates."""
    mixture, *sources = files
    form = audio.Form(length, sample_rate, 1)
    if (found := audio.read_form(mixture)) != form:
        raise InputError(mixture, found, f"{form} as in {listed}")
    signals = np.stack([audio.read(path, form)[:, 0] for path in sources])
    references, estimates = np.split(signals, 2)
    scores = score_speakers(references, estimates, audio.read(mixture, form)[:, 0])
    pairs = [(s, estimates[i]) for s, i in zip(references, scores.order, strict=True)]
    return {
        **{name: values.tolist() for name, values in scores._asdict().items()},
        **{
            name: [getattr(perception, name)(*pair, sample_rate) for pair in pairs]
            for name in wanted
        },
    }
