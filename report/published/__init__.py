"""The numbers of the study that this project repeats: six optimizers on Spleeter, five on SVoice,
two schedules, with and without clipping, one seed each.

Source: the histories and logs in the repository Alan052918/9143-HPML-Project, commit 98e6cd5.
SVoice was trained on the eight mixtures of `speech=svoice_debug`, which are its training,
validation and test set at once, on a GPU of Google Colab. Spleeter was trained on MUSDB18-HQ, on
more than one kind of GPU: its step times fall into two groups that no optimizer explains, and only
times within a group can be compared. No GPU is named.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent


def svoice() -> pd.DataFrame:
    """Returns the eleven runs of SVoice, 100 epochs each.

    The improvements do not follow from the losses: for the improvements alone, each mixture was
    divided by its largest sample, and so had a level that the network was not trained at.

    Returns:
        One row per run × epoch: `optimizer, schedule, clipping, epoch, train_loss, valid_loss,
        best_valid_loss` (negative SI-SNR, dB), `si_snr_improvement` (dB; every tenth epoch, else
        NaN).
    """
    return _read("svoice.csv")


def spleeter() -> pd.DataFrame:
    """Returns the runs of Spleeter: six that logged every step, and one of Nesterov that logged
    every fifth.

    Returns:
        One row per logged step: `optimizer, steps` (of the run: 100 or 2000), `step` (from 0),
        `loss` (L1 between spectrograms), `seconds` (since the row before; NaN in the first).
    """
    return _read("spleeter.csv")


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / name, float_precision="round_trip")
