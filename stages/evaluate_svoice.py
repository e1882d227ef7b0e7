"""evaluate_svoice: scores the separated test mixtures with SI-SNR and SDR."""

from pathlib import Path

from contract import files
from contract.layout import HEADLINES, SCORES, SVOICE_RESULTS, scratch_root
from contract.params import Evaluation, load
from metrics.score_all import unfinished
from metrics.speech_scores import aggregate_speech, score_speech
from stages.run import run


def main() -> None:
    """Scores the mixtures as params.yaml says."""
    evaluate(load().evaluation)


def evaluate(evaluation: Evaluation, workers: int | None = None) -> None:
    """Scores the mixtures and writes the scores, the same bytes with any number of workers.

    Args:
        evaluation: the group `evaluation` of params.yaml.
        workers: processes that score; as many as there are cores if None.

    Raises:
        InputError: the list or some mixtures are bad, or a metric's library is not installed. The
            scores of the other mixtures are kept for the next run.
    """
    with unfinished(scratch_root() / "evaluate_svoice") as kept:
        scores = score_speech(Path(), kept, evaluation.pesq, evaluation.stoi, workers)
        files.write_together(
            {
                SVOICE_RESULTS / SCORES: scores.to_csv(index=False),
                SVOICE_RESULTS / HEADLINES: files.json_text(aggregate_speech(scores)),
            }
        )


if __name__ == "__main__":
    run(main)
