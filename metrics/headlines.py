"""The few numbers of a run that DVC's tables show: what scores.json holds.

They are rounded. If a training diverged, its model's name is among them, so that the tables have
one more column.
"""

from __future__ import annotations

from contract.menu import SPLEETER, SVOICE
from contract.numbers import rounded
from contract.records import DIVERGED, TrainingSummary
from contract.scores import BEST_LOSS, SPEECH_HEADLINE, MusicDetails, SpeechDetails
from contract.sources import STEMS

Headlines = dict[str, float | str | None]


def headline_music(details: MusicDetails, train: TrainingSummary) -> Headlines:
    """Returns the mean SDR and that of each stem (dB), and the lowest validation loss of Spleeter.

    Args:
        details: what details.json holds.
        train: what train.json holds.
    """
    sdr = details["SDR"]
    of_stems = {stem: rounded(sdr[stem], 2) for stem in STEMS}
    return {"SDR": rounded(sdr["mean"], 2), **of_stems, **_training(SPLEETER, train)}


def headline_speech(details: SpeechDetails, train: TrainingSummary) -> Headlines:
    """Returns the SI-SNR improvement (dB), and the lowest validation loss of SVoice (dB).

    Args:
        details: what details.json holds.
        train: what train.json holds.
    """
    improvement = rounded(details["si_snr_improvement"], 2)
    return {SPEECH_HEADLINE: improvement, **_training(SVOICE, train)}


def _training(model: str, train: TrainingSummary) -> Headlines:
    best: Headlines = {BEST_LOSS[model]: rounded(train["best_valid_loss"], 2)}
    return {**best, model: DIVERGED} if train["status"] == DIVERGED else best
