"""The LSTMs on a CPU against those of PyTorch."""

import copy

import pytest
import torch

from svoice.lstm import projected_lstms
from svoice.network import MulCat, SVoice


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(before)


def plain(block, x):
    """The LSTMs and projections of a block as PyTorch runs them."""
    pairs = zip(block.lstms, block.projections, strict=True)
    return [projection(lstm(x)[0]) for lstm, projection in pairs]


def ours(block, x):
    return projected_lstms(block.lstms, block.projections, x)


def example(time, sequences, N=6, H=5, dtype=torch.float64):
    torch.manual_seed(0)
    block = MulCat(N, H).to(dtype)
    return block, torch.randn(time, sequences, N, dtype=dtype, requires_grad=True)


def gradients(block, x, outputs):
    weighted = sum((n * output).sin().sum() for n, output in enumerate(outputs, 1))
    parameters = [*block.lstms.parameters(), *block.projections.parameters()]
    return torch.autograd.grad(weighted, [x, *parameters])


@pytest.mark.parametrize("time", [1, 2, 9])
@pytest.mark.parametrize("sequences", [1, 40, 700])
def test_outputs_and_gradients_are_those_of_pytorch(threads, time, sequences):
    block, x = example(time, sequences)
    expected, actual = plain(block, x), ours(block, x)
    torch.testing.assert_close(actual, tuple(expected), rtol=0, atol=1e-13)
    torch.testing.assert_close(
        gradients(block, x, actual), gradients(block, x, expected), rtol=1e-11, atol=1e-11
    )


def test_single_precision_is_as_accurate_as_that_of_pytorch(threads):
    block, x = example(60, 90, 64, 64, torch.float32)
    exact = plain(copy.deepcopy(block).double(), x.double())

    def error(outputs):
        pairs = zip(outputs, exact, strict=True)
        return max((output - reference).abs().max() for output, reference in pairs)

    assert error(ours(block, x)) < 3 * error(plain(block, x))


def test_the_gradient_is_that_of_finite_differences():
    block, x = example(3, 2, N=2, H=2)
    names, parameters = zip(*block.named_parameters(), strict=True)

    def outputs(x, *parameters):
        changed = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(
            _Projections(block), {f"block.{n}": p for n, p in changed.items()}, x
        )

    assert torch.autograd.gradcheck(outputs, (x, *parameters))


class _Projections(torch.nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return ours(self.block, x)


def test_buffers_of_other_sizes_change_nothing(threads):
    """Batches of several sizes use the same memory, and so do two graphs at once."""
    block, x = example(9, 700)
    small = x[:7, :300]
    expected = [gradients(block, x, plain(block, x)) for x in (small, x)]
    for _ in range(2):
        outputs = [ours(block, x) for x in (small, x)]
        pairs = zip((small, x), outputs, strict=True)
        actual = [gradients(block, x, y) for x, y in pairs]
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)


def test_a_graph_cannot_be_used_when_its_memory_is_overwritten():
    block, x = example(9, 20)
    first = ours(block, x)[0].sum()
    (expected,) = torch.autograd.grad(first, x, retain_graph=True)
    (again,) = torch.autograd.grad(first, x, retain_graph=True)
    assert torch.equal(again, expected)
    ours(block, x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(first, x)


def test_results_are_reproducible_to_the_bit(threads):
    block, x = example(9, 700, dtype=torch.float32)
    first, second = (gradients(block, x, ours(block, x)) for _ in range(2))
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_outputs_are_the_same_without_gradients(threads, mode):
    block, x = example(9, 700, dtype=torch.float32)
    expected = ours(block, x)
    with mode():
        actual = ours(block, x)
    assert all(map(torch.equal, actual, expected))
    assert not any(output.requires_grad for output in actual)


def test_half_precision_is_left_to_pytorch():
    block, x = example(4, 20, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected, actual = plain(block, x), ours(block, x)
    assert {output.dtype for output in actual} == {torch.bfloat16}
    assert all(map(torch.equal, actual, expected))


def test_activation_checkpointing_changes_nothing(threads):
    mixtures = torch.randn(2, 1000)

    def run(activation_checkpointing):
        torch.manual_seed(0)
        network = SVoice(
            32, 8, 8, 3, 2, 8000, 0.25, activation_checkpointing=activation_checkpointing
        )
        outputs = network(mixtures)
        return outputs, torch.autograd.grad(outputs.square().sum(), list(network.parameters()))

    (expected, expected_gradients), (actual, actual_gradients) = run(False), run(True)
    assert torch.equal(actual, expected)
    assert all(map(torch.equal, actual_gradients, expected_gradients))
