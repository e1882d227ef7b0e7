"""bound_speech: scores the bounds of the speech test set, the mixture and an oracle.

They are the same for every training, so they are computed once for a data set.
"""

from pathlib import Path

from contract import files
from contract.layout import SPEECH_BOUNDS, scratch_root
from metrics.score_all import unfinished
from metrics.speech_scores import bound_speech
from stages.run import run


def main() -> None:
    """Scores the bounds of the speech test list."""
    bound()


def bound(workers: int | None = None) -> None:
    """Scores the bounds and writes them, the same bytes with any number of workers.

    Args:
        workers: processes that score; as many as there are cores if None.

    Raises:
        InputError: the list or some mixtures are bad. The scores of the other mixtures are kept for
            the next run.
    """
    with unfinished(scratch_root() / "bound_speech") as kept:
        bounds = bound_speech(Path(), kept, workers)
        files.write(SPEECH_BOUNDS, bounds.to_csv(index=False))


if __name__ == "__main__":
    run(main)
