"""The two models: what each is called, what it is trained for, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contract.layout import (
    MUSIC,
    MUSIC_TEST,
    SPEECH,
    SPEECH_TEST,
    SPLEETER_MODEL,
    SPLEETER_RESULTS,
    SVOICE_MODEL,
    SVOICE_RESULTS,
)
from contract.menu import SPLEETER, SVOICE
from contract.scores import MUSIC_SHOWN_COLUMNS, SPEECH_METRICS, SPEECH_SCORE_COLUMNS


@dataclass(frozen=True)
class Model:
    """A model and its trainer. All paths are relative to the repository.

    Attributes:
        key: its key in the configuration, and its name in those of stages, environments and
            folders.
        title: its name in reports.
        branch: the data that it separates, `music` or `speech`.
        task: what it is trained for, in words.
        package: the Python package of its trainer.
        data: the folder of its data.
        test_list: the list of what its scores are measured on.
        weights: the folder that its training writes.
        results: the folder of its records, its estimates and its scores.
        score: the name of the metric by which reports compare its trainings, in dB.
        score_key: the key of that metric in details.json, a path of keys joined by dots.
        score_columns: the columns of scores.csv that reports show, without metrics that have to be
            requested. There may be others.
        loss: what its training loss is, in words.
        loss_unit: `dB`, or empty.
    """

    key: str
    title: str
    branch: str
    task: str
    package: str
    data: Path
    test_list: Path
    weights: Path
    results: Path
    score: str
    score_key: str
    score_columns: tuple[str, ...]
    loss: str
    loss_unit: str

    def with_loss_unit(self, name: str) -> str:
        """Returns the name of a loss with its unit, as `validation loss (dB)`."""
        return f"{name} ({self.loss_unit})" if self.loss_unit else name


# In the order in which reports show them.
MODELS: dict[str, Model] = {
    model.key: model
    for model in (
        Model(
            key=SPLEETER,
            title="Spleeter",
            branch="music",
            task="music, four stems",
            package="spleeter_mod",
            data=MUSIC,
            test_list=MUSIC_TEST,
            weights=SPLEETER_MODEL,
            results=SPLEETER_RESULTS,
            score="SDR",
            score_key="SDR.mean",
            score_columns=MUSIC_SHOWN_COLUMNS,
            loss="Mean absolute error of the magnitude spectrograms, summed over the stems",
            loss_unit="",
        ),
        Model(
            key=SVOICE,
            title="SVoice",
            branch="speech",
            task="speech, several speakers",
            package="svoice",
            data=SPEECH,
            test_list=SPEECH_TEST,
            weights=SVOICE_MODEL.parent,
            results=SVOICE_RESULTS,
            score=SPEECH_METRICS["si_snr_improvement"],
            score_key="si_snr_improvement",
            score_columns=SPEECH_SCORE_COLUMNS,
            loss="Negative SI-SNR, weighted over the blocks",
            loss_unit="dB",
        ),
    )
}
