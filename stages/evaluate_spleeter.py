"""evaluate_spleeter: scores the separated test tracks with BSS Eval."""

import json
from pathlib import Path

from metrics.museval_json import write_museval
from metrics.music_scores import aggregate_music, music_by_track, score_music
from metrics.score_all import unfinished
from stages import outputs
from stages.params import Evaluation, load
from stages.run import run
from stages.scratch import scratch_root

RESULTS = Path("results/spleeter")


def main() -> None:
    evaluate(load().evaluation)


def evaluate(evaluation: Evaluation, workers: int | None = None) -> None:
    """Scores and writes; the same bytes whatever the number of workers.

    Raises:
        InputError: a bad list or bad tracks. The scores of the others are kept for the next run.
    """
    frame = evaluation.window_seconds, evaluation.hop_seconds
    with unfinished(scratch_root() / "evaluate_spleeter") as kept:
        frames = score_music(Path(), *frame, kept, workers)
        scores = music_by_track(frames)
        with outputs.directory(RESULTS / "museval") as folder:
            write_museval(frames, folder, *frame)
        outputs.write(RESULTS / "scores.csv", scores.to_csv(index=False))
        outputs.write(RESULTS / "scores.json", json.dumps(aggregate_music(scores), indent=2) + "\n")


if __name__ == "__main__":
    run(main)
