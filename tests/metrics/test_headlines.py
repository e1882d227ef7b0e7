"""What DVC's tables show of a run is short, sortable, and says when a training diverged."""

import json

from contract.sources import STEMS
from metrics.headlines import headline_music, headline_speech

SDR = {**{stem: number + 0.123456 for number, stem in enumerate(STEMS)}, "mean": 1.623456}
COMPLETED = {"status": "completed", "best_valid_loss": 4.79691}


def test_the_scores_of_music_are_rounded():
    headlines = headline_music({"SDR": SDR}, COMPLETED)
    stems = {stem: number + 0.12 for number, stem in enumerate(STEMS)}
    assert headlines == {"SDR": 1.62, **stems, "L1": 4.8}
    assert json.loads(json.dumps(headlines)) == headlines


def test_the_scores_of_speech_are_rounded():
    headlines = headline_speech({"si_snr_improvement": 2.5678}, COMPLETED)
    assert headlines == {"SI-SNRi": 2.57, "-SI-SNR": 4.8}


def test_what_is_unknown_is_none():
    train = {"status": "diverged", "best_valid_loss": None}
    nothing = dict.fromkeys((*STEMS, "mean"))
    assert headline_music({"SDR": nothing}, train) == {
        **dict.fromkeys(("SDR", *STEMS, "L1")),
        "spleeter": "diverged",
    }


def test_the_best_loss_before_a_training_diverged_stays():
    train = {"status": "diverged", "best_valid_loss": -1.5}
    headlines = headline_speech({"si_snr_improvement": 1.0}, train)
    assert headlines == {"SI-SNRi": 1.0, "-SI-SNR": -1.5, "svoice": "diverged"}
