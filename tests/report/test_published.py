"""The study's numbers in this project are those that it published."""

import hashlib
import json

import pandas as pd
import pytest

from report import published

OPTIMIZERS = ["adadelta", "adagrad", "adam", "rmsprop", "sgd"]
# SHA-256 of the study's files: of each history, and of the losses and seconds in each log.
HISTORIES = {
    "adadelta-plateau": "7b4a5f28ed91c81cd99f2dd67cf58df0021b555d47de6fae1179246db96a2c4f",
    "adadelta-step": "9219c666dbebfdac449fc6b25c7f0c6ee13853f8c85b607417db0fa387e09f6b",
    "adagrad-plateau": "101fe5a88508a25ad5291f276bf07bdeab86a703fee8da7352bd00bf0d244108",
    "adagrad-step": "992f13c900b1240d4e346b2a235812d663d2df12026e7a7529c815008b24d49d",
    "adam-plateau": "880ef8181057c98f5d5df16ae669abbda3894ab943f1a106fe46fc7220d7e804",
    "adam-step-noclip": "01d88f7bd49d8f74040b45a79ce42770fd7f15b037ffa7844d3700b100d66796",
    "adam-step": "7a52d8bde3e873811286021e7cbb7e1b5fa5406ccfd1217bd4c0b1879832e257",
    "rmsprop-plateau": "4e3266b5b9cf0cc6139d5a7917dde611b8d6c84f2ba3eddce7e9cd92deb32aa9",
    "rmsprop-step": "46116aa96027cf6a4b649ca23f32dae7eaf5f6d484105bbbfc743fe0cb19f071",
    "sgd-plateau": "7160a0ddbb0d2051a6570708217c59cf0f8c95442f791808731b8b33f358f5d9",
    "sgd-step": "b20b93d9b33d425528b2b41b7dc505d45909b8dc90b6e60c2810e78ed251faad",
}
LOGS = {
    ("adadelta", 100): "297ac74c442d91145c1b46b0b9734357a96335beb258812ab88f22d5b59c199e",
    ("adagrad", 100): "0183d4cff41934691d373f29b0811381d27a438f432346479d6fe6567de3e938",
    ("adam", 100): "e4e8a518b403fcfffc7d5f0574462c4e2d0a4152605a7484ca8360777d9bc826",
    ("nesterov", 100): "73a07a4b598e421d6fecba836363d2a5995aa1db8b53306e8f2dc6573adae925",
    ("nesterov", 2000): "a502449a85cef4e0d1c7ce621eeabac5e25f1cd1545772b19f9e031296622ad5",
    ("rmsprop", 100): "5f5245fa7e990b2b5c8a535c93808a2f1c8a61547f6ff1ecd395dee5cbcf32ea",
    ("sgd", 100): "3826bd46b08e4f39a66076c5ba15b6df2dd0106fed4da24de95f8b353ee74934",
}


def test_all_runs_are_there_and_complete():
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


@pytest.mark.parametrize("name", HISTORIES)
def test_every_history_is_that_of_the_study(name):
    """Written as the study wrote it, it has the same bytes."""
    optimizer, schedule, *noclip = name.split("-")
    runs = published.svoice()
    chosen = (runs.optimizer == optimizer) & (runs.schedule == schedule)
    run = runs[chosen & (runs.clipping == ("none" if noclip else "norm"))]
    history = []
    for row in run.itertuples():
        epoch = {"train": row.train_loss, "valid": row.valid_loss, "best": row.best_valid_loss}
        if not pd.isna(row.si_snr_improvement):
            epoch |= {"sisnr": row.si_snr_improvement, "pesq": 0.0, "stoi": 0.0}
        history.append(epoch)
    assert sha256(json.dumps(history, indent=2)) == HISTORIES[name]


@pytest.mark.parametrize(("optimizer", "steps"), LOGS)
def test_every_log_is_that_of_the_study(optimizer, steps):
    """TensorFlow's lines about loss and time, one for each logged step, are the same."""
    runs = published.spleeter()
    lines = []
    for row in runs[(runs.optimizer == optimizer) & (runs.steps == steps)].itertuples():
        seconds = "" if pd.isna(row.seconds) else f" ({row.seconds:.3f} sec)"
        lines.append(f"loss = {row.loss!r}, step = {row.step}{seconds}")
    assert sha256("\n".join(lines)) == LOGS[optimizer, steps]


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()
