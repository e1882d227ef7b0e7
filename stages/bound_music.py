"""bound_music: scores the bounds of the music test set, the mixture and an oracle.

They are the same for every training, so they are computed once for a data set, an STFT and a length
of the frames of BSS Eval.
"""

from pathlib import Path

from contract import files
from contract.layout import MUSIC_BOUNDS, scratch_root
from contract.model_settings import SpleeterSettings
from contract.params import Evaluation, load
from metrics.music_scores import bound_music
from metrics.score_all import unfinished
from stages.run import run


def main() -> None:
    """Scores the bounds as configuration.yaml says."""
    params = load()
    bound(params.spleeter, params.evaluation)


def bound(spleeter: SpleeterSettings, evaluation: Evaluation, workers: int | None = None) -> None:
    """Scores the bounds and writes them, the same bytes with any number of workers.

    Args:
        spleeter: the group `spleeter` of configuration.yaml, whose STFT the oracle uses.
        evaluation: the group `evaluation` of configuration.yaml.
        workers: processes that score; as many as there are cores if None.

    Raises:
        InputError: the list or some tracks are bad. The scores of the other tracks are kept for the
            next run.
    """
    stft = (spleeter.frame_length, spleeter.frame_step)
    windows = (evaluation.window_seconds, evaluation.hop_seconds)
    with unfinished(scratch_root() / "bound_music") as kept:
        bounds = bound_music(Path(), *stft, *windows, kept, workers)
        files.write(MUSIC_BOUNDS, bounds.to_csv(index=False))


if __name__ == "__main__":
    run(main)
