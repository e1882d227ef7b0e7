"""Scores of separated audio: arrays in, numbers out.

Installed by itself, this is the package `separation_scores`. It needs nothing else of the project,
and its imports are relative, so that it works under either name.

- `bss_eval`, `bss_eval_samples`, `bss_eval_windows`: SDR, ISR, SIR and SAR of music (BSS Eval v4);
- `measures`: of whole songs the uSDR of the Music Demixing challenges, SI-SDR, SI-SIR and SI-SAR;
- `sdr`: the SDR of speech (BSS Eval v3);
- `si_snr`, `score_speakers`, `score_in_order`: SI-SNR, and improvements over a mixture;
- `InputError`: bad input, in one line.

The module `command` scores folders, on the command line as `separation-scores score`. The module
`museval` offers what the package of that name does, for its users.
"""

from __future__ import annotations

from .bsseval import BssEval, bss_eval, bss_eval_samples, bss_eval_windows
from .errors import InputError
from .measures import Measures, measures
from .sdr import sdr
from .si_snr import SpeakerScores, score_in_order, score_speakers, si_snr

__version__ = "1.0.0"

__all__ = [
    "BssEval",
    "InputError",
    "Measures",
    "SpeakerScores",
    "__version__",
    "bss_eval",
    "bss_eval_samples",
    "bss_eval_windows",
    "measures",
    "score_in_order",
    "score_speakers",
    "sdr",
    "si_snr",
]
