"""`svoice.estimate`, run as a user runs it, on real speech."""

import itertools
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from svoice import checkpoint, estimate, training
from svoice.params import Params
from tests.svoice.conftest import ADAM

ESTIMATES = Path("results/svoice/estimates")


def rows_of_the_list():
    return [
        line.split(",") for line in Path("data/csv/speech/test.csv").read_text().splitlines()[1:]
    ]


def si_snr(estimate, reference):
    estimate, reference = estimate - estimate.mean(), reference - reference.mean()
    target = estimate @ reference / (reference @ reference) * reference
    return 10 * np.log10((target**2).sum() / ((estimate - target) ** 2).sum())


@pytest.fixture
def overfit(tiny, command, set_params):
    """The workspace with a network that was trained on the last test mixture alone."""
    lists = tiny.root / "data" / "csv" / "speech"
    header, *_, row = (lists / "test.csv").read_text().splitlines()
    (lists / "train.csv").write_text(f"{header}\n{row}\n")
    shutil.copy(lists / "train.csv", lists / "valid.csv")
    set_params(
        tiny,
        schedule={"name": "constant", "warmup_steps": 0},
        optimizer={"name": "adam", "svoice": {"lr": 1e-2, **ADAM}},
        svoice={
            **tiny.params["svoice"],
            **{"H": 16, "R": 1, "epochs": 40, "segment_seconds": 0.5, "stride_seconds": 0.5},
        },
    )
    finished = command.run("train")
    assert finished.returncode == 0, finished.stderr
    return tiny


def test_separates_what_it_was_trained_on(overfit, command):
    ESTIMATES.mkdir(parents=True)
    (ESTIMATES / "an earlier run's.wav").touch()
    finished = command.run("estimate")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    names = [Path(row[0]).name for row in rows_of_the_list()]
    assert sorted(str(path.relative_to(ESTIMATES)) for path in ESTIMATES.rglob("*.*")) == sorted(
        f"{speaker}/{name}" for speaker in ("s1", "s2") for name in names
    )
    assert [path.name for path in ESTIMATES.parent.glob(".*")] == []
    for mix, *sources, length, _ in rows_of_the_list():
        mixture, _ = soundfile.read(mix)
        references = [soundfile.read(path)[0] for path in sources]
        estimates = []
        for speaker in ("s1", "s2"):
            path = ESTIMATES / speaker / Path(mix).name
            info = soundfile.info(path)
            assert (info.frames, info.samplerate, info.channels) == (int(length), 8000, 1)
            assert info.subtype == "FLOAT"
            estimates.append(soundfile.read(path)[0])
        improvement = max(
            np.mean([si_snr(estimates[i], references[j]) for j, i in enumerate(order)])
            for order in itertools.permutations(range(2))
        ) - np.mean([si_snr(mixture, reference) for reference in references])
    # dB, of the list's last mixture
    assert improvement > 2


def test_the_same_estimates_have_the_same_bytes_at_any_time(tiny):
    """They are outputs of DVC, which compares them by their checksums."""
    network = training.make_network(Params.of(tiny.params))
    model = Path("models/svoice/model.pt")
    model.parent.mkdir(parents=True)
    model.write_bytes(checkpoint.model_bytes(network, checkpoint.snapshot(network)))
    contents = []
    for pause in (1.1, 0):
        estimate.main(["--params", "configuration.yaml"])
        contents.append({path: path.read_bytes() for path in ESTIMATES.rglob("*.wav")})
        time.sleep(pause)  # libsndfile would write the second
    assert len(contents[0]) == 2 * len(rows_of_the_list())
    assert contents[0] == contents[1]
