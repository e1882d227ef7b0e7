"""evaluate_spleeter: scores the separated test tracks with BSS Eval."""

from pathlib import Path

from contract import files
from contract.layout import (
    DETAILS,
    MUSEVAL,
    MUSIC_BOUNDS,
    SCORES,
    SPLEETER_RESULTS,
    scratch_root,
)
from contract.params import Evaluation, load
from contract.scores import MUSIC_BOUND_COLUMNS, MusicDetails
from metrics.museval_json import write_museval
from metrics.music_scores import (
    aggregate_music,
    aggregate_music_bounds,
    music_by_track,
    score_music,
)
from metrics.score_all import unfinished
from metrics.tables import read_results
from stages.run import run


def main() -> None:
    """Scores the tracks as configuration.yaml says."""
    evaluate(load().evaluation)


def evaluate(evaluation: Evaluation, workers: int | None = None) -> None:
    """Scores the tracks and writes the scores, the same bytes with any number of workers.

    Args:
        evaluation: the group `evaluation` of configuration.yaml.
        workers: processes that score; as many as there are cores if None.

    Raises:
        InputError: the list or some tracks are bad. The scores of the other tracks are kept for the
            next run.
    """
    window, hop = evaluation.window_seconds, evaluation.hop_seconds
    with unfinished(scratch_root() / "evaluate_spleeter") as kept:
        frames = score_music(Path(), window, hop, kept, workers)
        scores = music_by_track(frames)
        bounds = aggregate_music_bounds(read_results(MUSIC_BOUNDS, MUSIC_BOUND_COLUMNS))
        details = MusicDetails(**aggregate_music(scores), bounds=bounds)
        texts = {
            SPLEETER_RESULTS / SCORES: scores.to_csv(index=False),
            SPLEETER_RESULTS / DETAILS: files.json_text(details),
        }
        # All of them or none, so that they always are of the same estimates.
        with files.replacing(SPLEETER_RESULTS / MUSEVAL, *texts) as (museval, *new_files):
            write_museval(frames, museval, window, hop)
            for new_file, text in zip(new_files, texts.values(), strict=True):
                files.write_new(new_file, text)


if __name__ == "__main__":
    run(main)
