"""The compiled network, on real speech."""

import copy
import os
import shutil
from pathlib import Path

import pytest
from torch._dynamo.utils import counters

from svoice.data import TrainingBatches, load, read_list
from svoice.devices import compile_network
from svoice.params import Params
from svoice.stepper import Stepper
from svoice.training import make_network
from svoice.validation import validate


@pytest.fixture
def params(tiny):
    changed = copy.deepcopy(tiny.params)
    changed["svoice"]["R"] = 1
    return changed


# Without a compiler, the test below checks the error that a user gets. CI installs one.
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_compiled_network_takes_the_same_steps(params):
    """Also with a smaller last batch. Validation is not compiled, as every utterance has its own
    length."""
    items = read_list("data/csv/speech/train.csv", 2, 8000)[:3]
    segments = TrainingBatches(items, 2000, 4000, 4, 0).segments
    batches = [load(segments[:4], 2000), load(segments[-3:], 2000), load(segments[1:5], 2000)]
    plain, compiled = make_network(Params.of(params)), make_network(Params.of(params))
    compile_network(compiled)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    numbers = []
    for network in (plain, compiled):
        counters.clear()
        stepper = Stepper(network.train(), Params.of(params))
        numbers.append([stepper.step(batch, 1.0, 1e-3) for batch in batches])
        numbers[-1].append([validate(network, items, "fp32")])
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    assert numbers[1] == [pytest.approx(pair, rel=1e-3) for pair in numbers[0]]
    validate(compiled, items, "fp32")
    stepper.step(batches[0], 1.0, 1e-3)
    assert counters["stats"]["unique_graphs"] == graphs


def test_a_missing_compiler_ends_the_training_with_one_line(tiny, command, set_params):
    set_params(tiny, svoice={**tiny.params["svoice"], "compile": True})
    command.environment.update(CXX="no-such-compiler", TORCHINDUCTOR_CACHE_DIR=str(Path("cache")))
    finished = command.run("train")
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith(
        "ERROR: svoice.compile: PyTorch cannot compile here (InvalidCxxCompiler: "
    )
    assert finished.stderr.endswith(
        "); install a C++ compiler for a CPU, or a C compiler and Triton for a GPU; "
        "or set it to false\n"
    )
    assert finished.stderr.count("\n") == 1
    assert not {"models", "results", "scratch"} & set(os.listdir())
