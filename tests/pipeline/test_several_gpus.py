"""A training on several GPUs, through the pipeline. Two processes of the CPU stand for the GPUs."""

import os

import pandas as pd
import pytest

from tests import nvidia_smi
from tests.pipeline.conftest import OVERRIDES

STEPS = 20
WARNING = (
    "WARNING: runtime.gpus: the processors are used instead of the GPU: "
    "this is PyTorch's build for processors"
)


def test_svoice_on_two_gpus_learns_as_on_none(repository, tmp_path):
    """The loss of each step is the same to rounding, which grows from step to step."""
    nvidia_smi.write(tmp_path, [nvidia_smi.StandIn(f"GPU-{k}") for k in range(2)])
    path = f"PATH={tmp_path}{os.pathsep}{repository.environment['PATH']}"
    losses = {}
    for gpus in ("none", 2):
        # Four mixtures of several segments, four in a batch.
        overrides = [*OVERRIDES, "svoice.epochs=10", "svoice.batch_size=4", f"runtime.gpus={gpus}"]
        options = [part for override in overrides for part in ("-S", override)]
        command = ["dvc", "exp", "run", "--force", "--single-item", "train_svoice", *options]
        output = repository("env", "-u", "CUDA_VISIBLE_DEVICES", path, *command).stdout
        several = gpus == 2
        assert output.count("2 processes share each batch") == several
        assert output.count(WARNING) == several
        table = pd.read_csv(repository.root / "results" / "svoice" / "steps.csv")
        losses[gpus] = table.loss.to_numpy()
    assert len(losses["none"]) >= STEPS
    assert losses[2][:STEPS] == pytest.approx(losses["none"][:STEPS], rel=1e-5)
