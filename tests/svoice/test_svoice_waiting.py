"""A GPU works ahead of the processor, and is waited for once in a step.

That is read from what a step does on a processor, in half precision, in which the network runs the
same code as on a GPU. The optimizers' own waiting is left out: PyTorch's choose other code for a
GPU, and the authors' Prodigy waits twice for each weight.
"""

import copy
import itertools
import traceback

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from contract.menu import CLIPPINGS
from svoice import training
from svoice.params import Params
from svoice.stepper import Stepper
from tests.conftest import ROOT
from tests.yaml_files import read_yaml

# The operations that wait for the device: a number is read from it, or copied to it from a list, or
# the size of an output depends on the values of an input.
WAITS = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "unique", "equal.default")


class Waits(TorchDispatchMode):
    """Collects the places of our own code at which an operation waits for the device."""

    def __init__(self):
        super().__init__()
        self.places = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(name in str(function) for name in WAITS):
            own = [f for f in traceback.extract_stack() if f.filename.startswith(f"{ROOT}/svoice/")]
            self.places.append((str(function), own[-1].filename, own[-1].line))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("clipping", "speakers"), list(itertools.product(CLIPPINGS, (2, 5))))
def test_a_step_waits_for_the_device_once(tiny, monkeypatch, clipping, speakers):
    params = copy.deepcopy(tiny.params)
    params["svoice"].update(precision="bf16", batch_size=2)
    params["speech"]["speakers"] = speakers
    params["clipping"] = read_yaml(ROOT / "conf" / "clipping" / f"{clipping}.yaml")
    params = Params.of(params)
    stepper = Stepper(training.make_network(params).train(), params)
    monkeypatch.setattr(stepper.optimizer, "step", lambda: None)
    sources = torch.randn(2, speakers, 800)
    batch = sources.sum(1), sources, torch.tensor([800, 700])
    stepper.step(batch, 1.0, 1e-3)  # the first one also makes what is kept
    lists = []
    read = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: lists.append(self) or read(self))
    with Waits() as waits:
        loss, norm = stepper.step(batch, 1.0, 1e-3)
    assert waits.places == []
    (numbers,) = lists
    assert numbers[:2].tolist() == [loss, norm]
