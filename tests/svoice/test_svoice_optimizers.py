"""The optimizers of the menu against their formulas."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from svoice.loss import separation_loss
from svoice.network import SVoice
from svoice.optimizers import OPTIMIZERS, make_optimizer

CONF = Path(__file__).resolve().parents[2] / "conf" / "optimizer"
FILES = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in CONF.glob("*.yaml")}


def test_every_optimizer_of_the_menu_is_implemented():
    assert set(FILES) == set(OPTIMIZERS)
    assert all(name == settings["name"] for name, settings in FILES.items())


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_optimizer_takes_its_settings_and_lowers_the_loss(name):
    settings = FILES[name]["svoice"]
    torch.manual_seed(0)
    network = SVoice(32, 8, 8, 1, 2, 8000, 0.05)
    optimizer = make_optimizer(name, settings, network.parameters())
    expected = dict(settings)
    if "beta1" in expected:
        expected["betas"] = (expected.pop("beta1"), expected.pop("beta2"))
    assert expected.items() <= optimizer.param_groups[0].items()
    assert optimizer.param_groups[0].get("nesterov", False) == (name == "nesterov")
    # Fused wherever torch.optim has a fused optimizer.
    assert optimizer.param_groups[0].get("fused", True)

    sources = torch.randn(4, 2, 400)
    lengths = torch.full((4,), 400)
    losses = []
    for _ in range(20):
        loss = separation_loss(network(sources.sum(1)), sources, lengths)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5


def one_step(name, gradient):
    """Returns how far the first step with the settings of the menu moves a weight of 1."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = make_optimizer(name, FILES[name]["svoice"], [weight])
    weight.grad = torch.full_like(weight, gradient)
    optimizer.step()
    return weight.item() - 1


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("sgd", 3),
        ("momentum", 3),
        ("nesterov", 3 + 0.9 * 3),
        ("adagrad", 1),
        ("adadelta", (1e-6 / (0.1 * 9 + 1e-6)) ** 0.5 * 3),
        ("rmsprop", 3 / (0.01 * 9) ** 0.5),
        ("adam", 1),
        ("adamw", 1 + 1e-2),
        ("adamax", 1),
    ],
)
def test_the_first_step(name, rates):
    """Against its length in learning rates."""
    expected = -rates * FILES[name]["svoice"]["lr"]
    assert one_step(name, 3.0) == pytest.approx(expected, rel=1e-6)


def ten_steps(name, gradients, **changes):
    """Returns where ten gradients move two weights of 1, and the settings.

    These are the settings of the menu with `changes`.
    """
    weights = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    settings = {**FILES[name]["svoice"], **changes}
    optimizer = make_optimizer(name, settings, [weights])
    for gradient in gradients:
        weights.grad = gradient.clone()
        optimizer.step()
    return weights.detach(), settings


@pytest.fixture
def gradients():
    return torch.randn(10, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_settings_of_rmsprop_choose_its_formula(gradients, start, inside, momentum):
    changes = {"initial_mean_square": start, "epsilon_inside_root": inside, "momentum": momentum}
    actual, settings = ten_steps("rmsprop", gradients, eps=0.1, **changes)
    expected, square, buffer = torch.ones(2, dtype=torch.float64), start, 0.0
    for gradient in gradients:
        square = settings["alpha"] * square + (1 - settings["alpha"]) * gradient**2
        root = (square + 0.1) ** 0.5 if inside else square**0.5 + 0.1
        buffer = momentum * buffer + gradient / root
        expected = expected - settings["lr"] * buffer
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("before", [False, True])
def test_adam_adds_epsilon_before_or_after_the_correction(gradients, before):
    actual, settings = ten_steps("adam", gradients, eps=0.1, epsilon_before_correction=before)
    beta1, beta2 = settings["beta1"], settings["beta2"]
    expected, first, second = torch.ones(2, dtype=torch.float64), 0.0, 0.0
    for step, gradient in enumerate(gradients, 1):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        mean, correction = first / (1 - beta1**step), (1 - beta2**step) ** 0.5
        root = (second**0.5 + 0.1) / correction if before else second**0.5 / correction + 0.1
        expected = expected - settings["lr"] * mean / root
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("rmsprop", {"initial_mean_square": 1.0, "epsilon_inside_root": True, "momentum": 0.5}),
        ("adam", {"epsilon_before_correction": True}),
    ],
)
def test_the_formulas_of_tensorflow_resume_from_their_state(gradients, name, changes):
    expected, settings = ten_steps(name, gradients, **changes)
    weights = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = make_optimizer(name, settings, [weights])
    for number, gradient in enumerate(gradients):
        if number == 4:
            state = optimizer.state_dict()
            optimizer = make_optimizer(name, settings, [weights])
            optimizer.load_state_dict(state)
        weights.grad = gradient.clone()
        optimizer.step()
    assert torch.equal(weights.detach(), expected)
