from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from svoice.errors import InputError
from svoice.loss import separation_loss
from svoice.network import SVoice
from svoice.optimizers import OPTIMIZERS, make_optimizer

CONF = Path(__file__).resolve().parents[2] / "conf" / "optimizer"
FILES = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in CONF.glob("*.yaml")}


def test_every_optimizer_of_the_menu_is_there():
    assert set(FILES) == set(OPTIMIZERS)
    assert all(name == settings["name"] for name, settings in FILES.items())


@pytest.mark.parametrize("name", sorted(FILES))
def test_takes_its_settings_and_lowers_the_loss(name):
    settings = FILES[name]["svoice"]
    torch.manual_seed(0)
    network = SVoice(32, 8, 8, 1, 2, 8000, 0.05)
    optimizer = make_optimizer(name, settings, network.parameters())
    expected = dict(settings)
    if "beta1" in expected:
        expected["betas"] = (expected.pop("beta1"), expected.pop("beta2"))
    assert expected.items() <= optimizer.param_groups[0].items()
    assert optimizer.param_groups[0].get("nesterov", False) == (name == "nesterov")
    # Where torch.optim has it.
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
    """How far a first step with the menu's settings moves a weight of 1."""
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
def test_first_step(name, rates):
    """In learning rates, downhill."""
    expected = -rates * FILES[name]["svoice"]["lr"]
    assert one_step(name, 3.0) == pytest.approx(expected, rel=1e-6)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(InputError, match=r"optimizer.name: found 'lion', expected one of sgd"):
        make_optimizer("lion", {"lr": 1.0}, [])
