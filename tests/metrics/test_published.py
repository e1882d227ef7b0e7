"""The study's numbers are in the project as they were published."""

import pandas as pd
import pytest

from metrics import published
from tests.metrics import published_files

OPTIMIZERS = ["adadelta", "adagrad", "adam", "rmsprop", "sgd"]


def test_all_runs_are_there_and_whole():
    runs = published.svoice().groupby(["optimizer", "schedule", "clipping"])
    assert sorted(runs.groups) == sorted(
        [(o, s, "norm") for o in OPTIMIZERS for s in ("plateau", "step")]
        + [("adam", "step", "none")]
    )
    for _, run in runs:
        assert run.epoch.tolist() == list(range(1, 101))
        assert run.best_valid_loss.tolist() == run.valid_loss.cummin().tolist()
    logs = published.spleeter().groupby(["optimizer", "steps"])
    assert sorted(logs.groups) == sorted(
        [(o, 100) for o in [*OPTIMIZERS, "nesterov"]] + [("nesterov", 2000)]
    )
    for (_, steps), log in logs:
        assert log.step.tolist() == list(range(0, steps, steps // len(log)))
        assert log.seconds.isna().tolist() == [True] + [False] * (len(log) - 1)


@pytest.mark.skipif(not published_files.FOLDER.is_dir(), reason="the study's files are not here")
@pytest.mark.parametrize("model", ["svoice", "spleeter"])
def test_every_number_is_the_files(model):
    ours, theirs = (getattr(source, model)() for source in (published, published_files))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
