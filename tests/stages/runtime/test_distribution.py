"""The command lines of trainings on the GPUs of one machine."""

from __future__ import annotations

import pytest

from stages.runtime import distribution

TRAIN = ["-m", "svoice.train", "--params", "configuration.yaml", "--scratch", "/tmp/x"]


@pytest.mark.parametrize("model", ["spleeter", "svoice"])
@pytest.mark.parametrize("gpus", [0, 1])
def test_a_training_on_one_device_is_one_process(model, gpus):
    assert distribution.on_one_node(model, "python", TRAIN, gpus) == ["python", *TRAIN]


def test_svoice_has_a_process_on_each_gpu_of_a_node():
    assert distribution.on_one_node("svoice", "python", TRAIN, 4) == [
        *("python", "-m", "torch.distributed.run", "--standalone"),
        *("--local-addr=127.0.0.1", "--nproc-per-node=4"),
        *TRAIN,
    ]
    # TensorFlow uses all GPUs of a node in one process.
    assert distribution.on_one_node("spleeter", "python", TRAIN, 4) == ["python", *TRAIN]
