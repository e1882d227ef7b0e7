"""The numbers of the study that this project repeats: six optimizers on Spleeter, five on SVoice,
two schedules, with and without clipping, one seed each.

Source: the histories and logs in the repository Alan052918/9143-HPML-Project, commit 98e6cd5.
SVoice was trained on the eight mixtures of `speech=svoice_debug`, which are its training,
validation and test set at once, on a Tesla-class GPU. Spleeter was trained on MUSDB18-HQ, on more
than one kind of GPU: its seconds fall into two groups that no optimizer explains, and compare
within a group only.
"""

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent


def svoice() -> pd.DataFrame:
    """One row per run × epoch: `optimizer, schedule, clipping, epoch, train_loss, valid_loss,
    best_valid_loss` (negative SI-SNR, dB), `si_snr_improvement` (dB, every tenth epoch, else NaN).

    Eleven runs of 100 epochs. The improvements do not follow from the losses: for them alone, each
    mixture was divided by its largest sample, to a level that the network was not trained at.
    """
    return _read("svoice.csv")


def spleeter() -> pd.DataFrame:
    """One row per logged step: `optimizer, steps` (of the run: 100 or 2000), `step` (from 0),
    `loss` (L1 between spectrograms), `seconds` (since the row before; NaN in the first).

    Six runs that logged every step, and one of Nesterov that logged every fifth.
    """
    return _read("spleeter.csv")


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / name, float_precision="round_trip")
