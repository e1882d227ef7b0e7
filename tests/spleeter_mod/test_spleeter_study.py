"""The six optimizers of the study, in stock Spleeter and in ours; outside CI one of them.

Stock Spleeter is patched as the study describes. Both take ten steps from the same seed.
"""

import csv
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from spleeter_mod import configuration
from spleeter_mod.configuration import ALIASES
from spleeter_mod.settings import Settings
from tests.conftest import IN_CI, ROOT, TEST_DATA
from tests.spleeter_mod.material import STUDY, choice, published_optimizer

STEPS = 10
TRAINED = list(ALIASES) if IN_CI else ["Adam"]
TRAIN = "import sys; from tests.spleeter_mod.stock_study import main; main(*sys.argv[1:])"
SMALL = {
    **{"T": 64, "F": 256, "frame_length": 1024, "frame_step": 256, "batch_size": 2},
    **{"chunk_duration": 0.8, "n_chunks_per_song": 3, "train_max_steps": STEPS},
    **{"train_csv": "train.csv", "validation_csv": "valid.csv"},
    "model": {
        "type": "unet.unet",
        "params": {**STUDY["model"]["params"], "conv_n_filters": [4, 4, 8, 8, 16, 16]},
    },
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder in which stock Spleeter and ours were trained with each of `TRAINED`."""
    folder = tmp_path_factory.mktemp("study")
    rows = []
    for name in ("train", "valid", "test"):
        with (TEST_DATA / "data" / "csv" / "music" / f"{name}.csv").open(newline="") as file:
            rows += csv.DictReader(file)
    for name, tracks in (("train", rows), ("valid", rows[:1])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(tracks)
    for alias in ALIASES:
        values = {**STUDY, **SMALL, "optimizer": alias, "model_dir": alias}
        for key in ("training_cache", "validation_cache"):
            values[key] = f"{key}/{alias}"
        (folder / f"{alias}.json").write_text(json.dumps(values))
    done = subprocess.run(
        [
            *(sys.executable, "-c", TRAIN, str(TEST_DATA)),
            *(f"{alias}.json" for alias in TRAINED),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def weights(checkpoint):
    """Returns the variables of a checkpoint by name, without the counter of steps."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name != "global_step"
    }


@pytest.mark.parametrize("alias", TRAINED)
def test_ten_steps_are_those_of_the_study(study, alias):
    expected = json.loads((study / f"stock_{alias}" / "losses.json").read_text())
    with (study / alias / "steps.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == STEPS
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    first, last = (weights(study / f"stock_{alias}" / f"model.ckpt-{k}") for k in (0, STEPS))
    ours = weights(study / alias / "model")
    assert ours.keys() <= last.keys()
    change, difference = (
        np.sqrt(sum(np.square(one[name] - other[name]).sum() for name in ours))
        for one, other in ((last, first), (ours, last))
    )
    assert change > 1e-5
    assert difference <= 1e-5 * change


@pytest.mark.parametrize("alias", ALIASES)
def test_the_published_preset_is_the_same_run(study, alias, tmp_path):
    """`spleeter=published optimizer=…`, at the same small size, without schedule and clipping."""
    published = choice("spleeter", "published")
    small = {
        **{key: SMALL[key] for key in ("T", "F", "frame_length", "frame_step", "batch_size")},
        "filters": SMALL["model"]["params"]["conv_n_filters"],
        "chunk_seconds": SMALL["chunk_duration"],
        "chunks_per_song": SMALL["n_chunks_per_song"],
        "steps": STEPS,
    }
    name = ALIASES[alias]
    params = {
        "seed": published["seed"],
        "music": {"sample_rate": STUDY["sample_rate"]},
        "spleeter": {**published["spleeter"], **small},
        "optimizer": {"name": name, "spleeter": published_optimizer(name)},
        "schedule": choice("schedule", "constant"),
        "clipping": choice("clipping", "none"),
    }
    path = tmp_path / "configuration.yaml"
    path.write_text(json.dumps(params))  # JSON is YAML
    preset = Settings.read(path)
    by_configuration = configuration.read(study / f"{alias}.json").settings
    network = {**preset.spleeter(), "model_dir": alias}
    assert by_configuration.spleeter() == network
    assert preset == dataclasses.replace(by_configuration, network={})
