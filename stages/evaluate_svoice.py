"""evaluate_svoice: scores the separated test mixtures with SI-SNR and SDR."""

import json
from pathlib import Path

from metrics.score_all import unfinished
from metrics.speech_scores import aggregate_speech, score_speech
from stages import outputs
from stages.params import Evaluation, load
from stages.run import run
from stages.scratch import scratch_root

RESULTS = Path("results/svoice")


def main() -> None:
    evaluate(load().evaluation)


def evaluate(evaluation: Evaluation, workers: int | None = None) -> None:
    """Scores and writes; the same bytes whatever the number of workers.

    Raises:
        InputError: a bad list, bad mixtures, or a library that is not installed. The scores of the
            other mixtures are kept for the next run.
    """
    with unfinished(scratch_root() / "evaluate_svoice") as kept:
        scores = score_speech(Path(), kept, evaluation.pesq, evaluation.stoi, workers)
        outputs.write(RESULTS / "scores.csv", scores.to_csv(index=False))
        outputs.write(
            RESULTS / "scores.json", json.dumps(aggregate_speech(scores), indent=2) + "\n"
        )


if __name__ == "__main__":
    run(main)
