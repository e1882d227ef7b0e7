"""evaluate_spleeter: scores the separated test tracks with BSS Eval."""

import json
from pathlib import Path

from metrics.music_scores import aggregate_music, score_music
from stages import outputs
from stages.params import load
from stages.run import run

RESULTS = Path("results/spleeter")


def main() -> None:
    evaluation = load().evaluation
    scores = score_music(Path(), evaluation.window_seconds, evaluation.hop_seconds)
    outputs.write(RESULTS / "scores.csv", scores.to_csv(index=False))
    outputs.write(RESULTS / "scores.json", json.dumps(aggregate_music(scores), indent=2) + "\n")


if __name__ == "__main__":
    run(main)
