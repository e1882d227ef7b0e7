"""The scores of the speech branch: SI-SNR of SVoice's estimates of the test mixtures."""

from pathlib import Path

import numpy as np
import pandas as pd

from metrics import audio
from metrics.errors import InputError
from metrics.numbers import finite_or_none
from metrics.progress import progress
from metrics.si_snr import score_speakers
from metrics.workspace import SPEECH_TEST, SVOICE, read_speech_list, speakers


def score_speech(root: Path) -> pd.DataFrame:
    """Scores every mixture of the speech test list under `root`.

    Returns one row per mixture × speaker: `mixture` (file name without suffix), `speaker`
    (the reference), `estimate` (the one matched to it by the best permutation), `si_snr`,
    `si_snr_improvement` (dB). When these are NaN or infinite: `metrics.si_snr`.
    Raises: `InputError` for a missing or unreadable file, or one unlike its mixture.
    """
    mixtures = read_speech_list(root / SPEECH_TEST)
    names = speakers(mixtures)
    estimates = root / SVOICE / "estimates"
    rows = []
    for item in progress(mixtures.to_dict("records"), "scoring speech", "mixture"):
        path = root / item["mix_path"]
        form = audio.Form(int(item["length"]), int(item["sample_rate"]), 1)
        if (found := audio.read_form(path)) != form:
            raise InputError(path, found, f"{form} as in {root / SPEECH_TEST}")
        scores = score_speakers(
            np.stack([audio.read(root / item[f"{name}_path"], form)[:, 0] for name in names]),
            np.stack([audio.read(estimates / name / item["file"], form)[:, 0] for name in names]),
            audio.read(path, form)[:, 0],
        )
        for speaker, name in enumerate(names):
            rows.append(
                {
                    "mixture": Path(item["file"]).stem,
                    "speaker": name,
                    "estimate": names[scores.order[speaker]],
                    "si_snr": scores.si_snr[speaker],
                    "si_snr_improvement": scores.si_snr_improvement[speaker],
                }
            )
    return pd.DataFrame(rows)


def aggregate_speech(scores: pd.DataFrame) -> dict[str, float | int | None]:
    """`si_snr` and `si_snr_improvement` (dB, the mean over mixtures × speakers) and `mixtures`.

    Rows with a silent reference (NaN) are left out; an estimate that found nothing (minus
    infinity) leaves no mean. None: no finite value.
    """
    means = {
        metric: finite_or_none(scores[metric].mean()) for metric in ("si_snr", "si_snr_improvement")
    }
    return {**means, "mixtures": int(scores["mixture"].nunique())}
