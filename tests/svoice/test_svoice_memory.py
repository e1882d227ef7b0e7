"""What SVoice says when memory runs out."""

import os
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from contract.errors import InputError
from svoice import checkpoint, estimate, separate, training
from svoice.data import read_list
from svoice.devices import memory_errors_explained
from svoice.network import SVoice
from svoice.params import Params
from svoice.validation import validate

MODEL = Path("models/svoice/model.pt")

# A training that may take 256 MiB more than it has at its start.
SHORT_OF_MEMORY = """
import resource
from pathlib import Path
import svoice.train

pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (256 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
svoice.train.main()
"""


def test_a_training_without_enough_memory_ends_with_one_line(tiny, command, set_params):
    set_params(tiny, svoice={**tiny.params["svoice"], "H": 256, "batch_size": 64, "epochs": 1})
    command.trainer = [sys.executable, "-c", SHORT_OF_MEMORY]
    finished = command.run("train")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == (
        "ERROR: svoice: the network and its batch do not fit into the memory of this machine; "
        "raise svoice.accumulation_steps, set svoice.activation_checkpointing to true, or lower "
        "svoice.batch_size\n"
    )
    assert not {"models", "results"} & set(os.listdir())


@pytest.fixture
def network(tiny, monkeypatch):
    """A network, also in the file of the model, for which no machine has enough memory."""
    network = training.make_network(Params.of(tiny.params))
    MODEL.parent.mkdir(parents=True)
    MODEL.write_bytes(checkpoint.model_bytes(network, checkpoint.snapshot(network)))
    monkeypatch.setattr(SVoice, "forward", lambda self, mixture: torch.empty(1 << 50))
    return network


WHOLE_MIXTURE = (
    "the network and the whole mixture do not fit into the memory of this machine; "
    "end other programs that use it, or leave the mixture out of the list"
)


def test_the_error_of_a_validation_names_the_mixture(network):
    items = read_list("data/csv/speech/valid.csv", 2, 8000)
    with pytest.raises(InputError) as refused:
        validate(network, items, "fp32")
    assert str(refused.value) == f"{items[0].mixture}: {WHOLE_MIXTURE}"


def test_the_error_of_an_estimation_names_the_mixture(network):
    first = Path("data/csv/speech/test.csv").read_text().splitlines()[1].split(",")[0]
    with pytest.raises(SystemExit) as exit:
        estimate.main(["--params", "configuration.yaml"])
    assert exit.value.code == f"ERROR: {first}: {WHOLE_MIXTURE}"
    assert not Path("results/svoice/estimates").exists()


def test_the_error_of_a_separation_names_the_recording(network):
    soundfile.write("talk.wav", torch.zeros(100).numpy() + 0.1, 8000)
    with pytest.raises(SystemExit) as exit:
        separate.main([str(MODEL), "talk.wav", "--out", "out"])
    assert exit.value.code == (
        "ERROR: talk.wav: the network and the recording do not fit into the memory of this "
        "machine; end other programs that use it, or cut the recording into shorter parts"
    )
    assert os.listdir("out") == []


@pytest.mark.parametrize("load", ["estimate", "separate"])
def test_weights_that_do_not_fit_are_an_error_about_the_model(network, monkeypatch, load):
    def fail(self, device):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(SVoice, "to", fail)
    with pytest.raises(SystemExit) as exit:
        if load == "estimate":
            estimate.main(["--params", "configuration.yaml"])
        else:
            separate.main([str(MODEL), "talk.wav", "--out", "out"])
    assert exit.value.code == (
        "ERROR: models/svoice/model.pt: its weights do not fit into the memory of this GPU; "
        "end other programs that use it"
    )


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "GPU"),
        (RuntimeError("CUDA error: out of memory"), "GPU"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "GPU"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `create`"), "GPU"),
        (MemoryError("Unable to allocate 8.00 PiB for an array"), "machine"),
    ],
)
def test_the_error_names_what_has_no_memory_left(error, device):
    with (
        pytest.raises(InputError) as refused,
        memory_errors_explained("a.wav", "its samples", "cut it"),
    ):
        raise error
    assert str(refused.value) == (
        f"a.wav: its samples do not fit into the memory of this {device}; cut it"
    )


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), InputError("b.wav", "is gone")])
def test_another_error_stays_as_it_is(error):
    with pytest.raises(type(error)) as raised, memory_errors_explained("a.wav", "they", "cut it"):
        raise error
    assert raised.value is error
