"""evaluate_svoice: scores the separated test mixtures with SI-SNR and SDR."""

from pathlib import Path

from contract import files
from contract.layout import (
    DETAILS,
    SCORES,
    SPEECH_BOUNDS,
    SVOICE_RESULTS,
    scratch_root,
)
from contract.params import Evaluation, load
from contract.scores import SPEECH_BOUND_COLUMNS, SpeechDetails
from metrics.score_all import unfinished
from metrics.speech_scores import (
    aggregate_speech,
    aggregate_speech_bounds,
    score_speech,
)
from metrics.tables import read_results
from stages.run import run


def main() -> None:
    """Scores the mixtures as configuration.yaml says."""
    evaluate(load().evaluation)


def evaluate(evaluation: Evaluation, workers: int | None = None) -> None:
    """Scores the mixtures and writes the scores, the same bytes with any number of workers.

    Args:
        evaluation: the group `evaluation` of configuration.yaml.
        workers: processes that score; as many as there are cores if None.

    Raises:
        InputError: the list or some mixtures are bad, or a metric's library is not installed. The
            scores of the other mixtures are kept for the next run.
    """
    with unfinished(scratch_root() / "evaluate_svoice") as kept:
        scores = score_speech(Path(), kept, evaluation.pesq, evaluation.stoi, workers)
        bounds = aggregate_speech_bounds(read_results(SPEECH_BOUNDS, SPEECH_BOUND_COLUMNS))
        details = SpeechDetails(**aggregate_speech(scores), bounds=bounds)
        files.write_together(
            {
                SVOICE_RESULTS / SCORES: scores.to_csv(index=False),
                SVOICE_RESULTS / DETAILS: files.json_text(details),
            }
        )


if __name__ == "__main__":
    run(main)
