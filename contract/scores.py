"""The scores of the trained models, in dB: what scores.csv, details.json and scores.json hold.

What changes here changes outputs, so the stages depend on this module.
"""

from __future__ import annotations

from typing import TypedDict

BSS_METRICS = ("SDR", "SIR", "SAR", "ISR")
SPEECH_METRICS = {
    "si_snr": "SI-SNR",
    "si_snr_improvement": "SI-SNR improvement",
    "sdr_improvement": "SDR improvement",
}
PERCEPTUAL_METRICS = {"pesq": "PESQ", "stoi": "STOI"}  # computed only where they are requested
SONG_METRICS = ("usdr", "si_sdr", "si_sir", "si_sar")  # of whole songs, without frames
MUSIC_SCORE_COLUMNS = ("track", "target", *BSS_METRICS, *SONG_METRICS, "frames", "nan_frames")
# Those that reports show; the scores of earlier runs have no others.
MUSIC_SHOWN_COLUMNS = ("track", "target", *BSS_METRICS, "frames", "nan_frames")
SPEECH_SCORE_COLUMNS = ("mixture", "speaker", "estimate", *SPEECH_METRICS)
# What every score lies between: the mixture as the estimate of each of its sources, and an oracle,
# the ideal ratio mask. Both are scored on the test set as the estimates are.
MIXTURE_BOUND = "mixture"
ORACLE_BOUND = "oracle"
BOUNDS = (MIXTURE_BOUND, ORACLE_BOUND)
MUSIC_BOUND_COLUMNS = ("bound", *MUSIC_SCORE_COLUMNS)
SPEECH_BOUND_COLUMNS = ("bound", "mixture", "speaker", *SPEECH_METRICS)
PESQ_MODES = {8000: "nb", 16000: "wb"}  # sample rate (Hz): mode of ITU-T P.862

ByTarget = dict[str, float | None]  # of each stem, and their mean under `mean`; in dB


class MusicAggregate(TypedDict):
    """The scores of the music branch over the test set. A number that is not finite is None.

    Attributes:
        SDR: the median over the tracks.
        SIR: the same.
        SAR: the same.
        ISR: the same.
        usdr: the mean over the tracks, as in the Music Demixing challenges.
        si_sdr: the same.
        si_sir: the same.
        si_sar: the same.
        mean_over_tracks: by metric of BSS Eval, the mean over the tracks instead of the median.
        tracks: the number of tracks that have scores.
        unscored_tracks: the number of those that have none.
        frames: by stem, the frames of all tracks.
        nan_frames: by stem, those of them without a finite SDR.
    """

    SDR: ByTarget
    SIR: ByTarget
    SAR: ByTarget
    ISR: ByTarget
    usdr: ByTarget
    si_sdr: ByTarget
    si_sir: ByTarget
    si_sar: ByTarget
    mean_over_tracks: dict[str, ByTarget]
    tracks: int
    unscored_tracks: int
    frames: dict[str, int]
    nan_frames: dict[str, int]


class MusicDetails(MusicAggregate):
    """What details.json of the music branch holds.

    Attributes:
        bounds: by bound, the SDR as above.
    """

    bounds: dict[str, ByTarget]


class SpeechAggregate(TypedDict, total=False):
    """The scores of the speech branch over the test set. A number that is not finite is None.

    Attributes:
        si_snr: the mean over mixtures × speakers, in dB.
        si_snr_improvement: the same.
        sdr_improvement: the same.
        pesq: the mean MOS-LQO; only where it is requested.
        stoi: the mean; only where it is requested.
        mixtures: the number of mixtures.
        silent_references: the number of rows of scores.csv that have no SI-SNR, because the
            reference is silent.
    """

    si_snr: float | None
    si_snr_improvement: float | None
    sdr_improvement: float | None
    pesq: float | None
    stoi: float | None
    mixtures: int
    silent_references: int


class SpeechDetails(SpeechAggregate):
    """What details.json of the speech branch holds.

    Attributes:
        bounds: by bound, the means of the metrics in dB.
    """

    bounds: dict[str, dict[str, float | None]]


# What scores.json holds has short names, because each is a column of `dvc exp show`: the loss that
# Spleeter minimises is the L1 norm, and that of SVoice the negative SI-SNR.
BEST_LOSS = {"spleeter": "L1", "svoice": "-SI-SNR"}
SPEECH_HEADLINE = "SI-SNRi"
