"""Where the pipeline keeps SVoice's files: paths relative to the repository."""

from pathlib import Path

LISTS = Path("data/csv/speech")
MODEL = Path("models/svoice/model.pt")
RESULTS = Path("results/svoice")
