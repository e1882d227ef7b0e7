"""The optimizer step against one in plain PyTorch, on real speech."""

import copy
import math
from pathlib import Path

import pytest
import torch

from svoice import training
from svoice.clipping import Clipping
from svoice.data import TrainingBatches, load, read_list
from svoice.loss import separation_loss
from svoice.params import Params
from svoice.stepper import Stepper
from svoice.training import Places, Training
from svoice.validation import validate

RATE = 1e-2


@pytest.fixture
def examples(tiny):
    """A batch of seven segments of different lengths."""
    items = read_list("data/csv/speech/train.csv", 2, 8000)
    segments = sorted(TrainingBatches(items, 2000, 4000, 4, 0).segments, key=lambda s: s.length)
    return load(segments[:2] + segments[-5:], 2000)


@pytest.fixture
def make_stepper(tiny):
    """A function that makes a network and its stepper under changed svoice parameters."""

    def make(**svoice):
        params = copy.deepcopy(tiny.params)
        params["svoice"].update(batch_size=7, **svoice)
        # Adam would divide by small gradients, and thereby magnify rounding errors.
        params["optimizer"] = {"name": "momentum", "svoice": {"lr": RATE, "momentum": 0.9}}
        network = training.make_network(Params.of(params)).train()
        return network, Stepper(network, Params.of(params))

    return make


def weights_of(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def set_scale(stepper, scale):
    stepper.scaler.load_state_dict({**stepper.scaler.state_dict(), "scale": scale})


def plain_steps(network, batches):
    """Takes optimizer steps in plain PyTorch, and returns their losses and gradient norms."""
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9)
    numbers = []
    for mixture, sources, lengths in batches:
        loss = separation_loss(network(mixture), sources, lengths)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        numbers.append([loss.item(), norm.item()])
    return numbers


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("accumulation_steps", [1, 2, 3, 7])
def test_accumulation_takes_the_same_step(make_stepper, examples, size, accumulation_steps):
    """Also if the parts are uneven, or the batch has fewer examples than parts."""
    batch = [tensor[:size] for tensor in examples]
    network, _ = make_stepper()
    expected = plain_steps(network, [batch, batch])
    ours, stepper = make_stepper(accumulation_steps=accumulation_steps)
    actual = [stepper.step(batch, 1.0, RATE) for _ in range(2)]
    assert actual == [pytest.approx(pair, rel=1e-4) for pair in expected]
    torch.testing.assert_close(weights_of(ours), weights_of(network), rtol=1e-4, atol=1e-6)


def test_a_step_without_accumulation_is_exactly_the_plain_one(make_stepper, examples):
    network, _ = make_stepper()
    ours, stepper = make_stepper()
    assert [stepper.step(examples, 1.0, RATE)] == plain_steps(network, [examples])
    torch.testing.assert_close(weights_of(ours), weights_of(network), rtol=1e-6, atol=1e-8)


def test_activation_checkpointing_changes_nothing(make_stepper, examples):
    network, stepper = make_stepper()
    expected = stepper.step(examples, 1.0, RATE)
    checkpointed, stepper = make_stepper(activation_checkpointing=True)
    assert checkpointed.activation_checkpointing
    assert stepper.step(examples, 1.0, RATE) == expected
    assert torch.equal(weights_of(checkpointed), weights_of(network))


def test_the_shares_of_the_processes_add_up_to_the_batch(make_stepper, examples):
    """Three processes, of which one has no example of its own."""
    loss, _ = make_stepper()[1].step(examples, 1.0, RATE)
    shares = [([tensor[:5] for tensor in examples], 5 / 7), ([t[5:] for t in examples], 2 / 7)]
    shares.append(([tensor[:1] for tensor in examples], 0.0))
    losses, gradients = [], []
    for share, weight in shares:
        network, stepper = make_stepper()
        stepper.clipping = Clipping({"name": "none"})
        losses.append(stepper.step(share, weight, RATE)[0])
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert math.fsum(losses) == pytest.approx(loss, rel=1e-5)
    assert losses[2] == 0 and not gradients[2].any()
    network, stepper = make_stepper()
    stepper.clipping = Clipping({"name": "none"})
    stepper.step(examples, 1.0, RATE)
    expected = torch.cat([p.grad.flatten() for p in network.parameters()])
    atol = 1e-4 * expected.abs().max().item()
    torch.testing.assert_close(sum(gradients), expected, rtol=1e-3, atol=atol)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.005)])
def test_mixed_precision(make_stepper, examples, precision, tolerance):
    """Loss and gradient norm are near those of fp32 but different; the weights stay fp32."""
    _, stepper = make_stepper()
    expected = stepper.step(examples, 1.0, RATE)
    network, stepper = make_stepper(precision=precision)
    if precision == "fp16":
        set_scale(stepper, 2.0)  # so small that no gradient overflows
    actual = stepper.step(examples, 1.0, RATE)
    assert actual != expected
    assert actual[0] == pytest.approx(expected[0], rel=tolerance)
    assert actual[1] == pytest.approx(expected[1], rel=10 * tolerance)
    assert weights_of(network).dtype == torch.float32


def test_a_step_with_an_overflow_in_fp16_changes_no_weight(make_stepper, examples):
    network, stepper = make_stepper(precision="fp16")
    before = weights_of(network)
    set_scale(stepper, 2.0**22)
    loss, norm = stepper.step(examples, 1.0, RATE)
    assert math.isfinite(loss) and not math.isfinite(norm)
    assert torch.equal(weights_of(network), before)
    assert stepper.scaler.get_scale() == 2.0**21
    norms = [norm]
    while not math.isfinite(norms[-1]):
        norms.append(stepper.step(examples, 1.0, RATE)[1])
        assert len(norms) < 30
    assert not torch.equal(weights_of(network), before)


def test_the_scale_of_the_loss_is_part_of_the_state(make_stepper, examples):
    _, stepper = make_stepper(precision="fp16")
    set_scale(stepper, 2.0**22)
    stepper.step(examples, 1.0, RATE)
    _, other = make_stepper(precision="fp16")
    other.load_state_dict(stepper.state_dict())
    assert other.scaler.state_dict() == stepper.scaler.state_dict()


def test_validation_is_in_the_precision_of_the_training(make_stepper):
    network, _ = make_stepper()
    items = read_list("data/csv/speech/valid.csv", 2, 8000)[:2]
    single, half = (validate(network, items, precision) for precision in ("fp32", "bf16"))
    assert single != half
    assert half == pytest.approx(single, rel=0.05)


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_switched_on_and_off(tiny, tf32):
    tiny.params["svoice"]["tf32"] = tf32
    Training(Params.of(tiny.params), Places(Path("data/csv/speech"), *[Path("unused")] * 3))
    assert torch.backends.cuda.matmul.allow_tf32 is tf32
    assert torch.backends.cudnn.allow_tf32 is tf32
