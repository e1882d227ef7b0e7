"""evaluate_svoice: scores the separated test mixtures with SI-SNR."""

import json
from pathlib import Path

from metrics.speech_scores import aggregate_speech, score_speech
from stages import outputs
from stages.params import load
from stages.run import run

RESULTS = Path("results/svoice")


def main() -> None:
    load()
    scores = score_speech(Path())
    outputs.write(RESULTS / "scores.csv", scores.to_csv(index=False))
    outputs.write(RESULTS / "scores.json", json.dumps(aggregate_speech(scores), indent=2) + "\n")


if __name__ == "__main__":
    run(main)
