"""The study's own files, read as they are."""

import json
import re

import pandas as pd

from tests.conftest import ROOT

FOLDER = ROOT.parent / "shared" / "data" / "published"
LOSS = re.compile(r"loss = (\S+), step = (\d+)(?: \((\S+) sec\))?")


def svoice() -> pd.DataFrame:
    rows = []
    for path in sorted((FOLDER / "svoice").glob("*.json")):
        optimizer, schedule, *without = path.stem.split("-")
        for epoch, record in enumerate(json.loads(path.read_text()), start=1):
            rows.append(
                {
                    "optimizer": optimizer,
                    "schedule": schedule,
                    "clipping": "none" if without else "norm",
                    "epoch": epoch,
                    "train_loss": record["train"],
                    "valid_loss": record["valid"],
                    "best_valid_loss": record["best"],
                    "si_snr_improvement": record.get("sisnr"),
                }
            )
    return pd.DataFrame(rows)


def spleeter() -> pd.DataFrame:
    rows = []
    for path in sorted((FOLDER / "spleeter").glob("*.log")):
        optimizer, _, long = path.stem.lower().partition("_")
        for line in path.read_text().splitlines():
            if found := LOSS.search(line):
                loss, step, seconds = found.groups()
                rows.append(
                    {
                        "optimizer": optimizer,
                        "steps": 2000 if long else 100,
                        "step": int(step),
                        "loss": float(loss),
                        "seconds": None if seconds is None else float(seconds),
                    }
                )
    return pd.DataFrame(rows)
