"""The optimizers of the menu against their formulas."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from prodigyopt.prodigy_reference import ProdigyReference
from schedulefree import AdamWScheduleFreeReference
from torch import nn

from contract import menu
from svoice.checkpoint import to_bytes
from svoice.loss import separation_loss
from svoice.network import SVoice
from svoice.optimizers import OPTIMIZERS, averaged, make_optimizer, state_bytes
from tests import formulas

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
    # Prodigy's estimate of the rate grows from 1e-6.
    for _ in range(40 if name == "prodigy" else 20):
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


# Parameters of every kind: a kernel, matrices of either orientation, vectors of which one begins at
# zero, and a scalar. The rates are those of a warm-up and of a schedule that lowers them.
SHAPES = [(3, 2, 4), (3, 5), (5, 3), (4,), (3,), ()]
RATES = [0.01, 0.02, 0.03, 0.03, 0.03, 0.02, 0.02, 0.01, 0.01, 0.005]
NEW = sorted(formulas.FORMULAS)


def arrays(seed):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape) for shape in SHAPES]


WEIGHTS = [array * (number != 4) for number, array in enumerate(arrays(0))]
GRADIENTS = [arrays(seed) for seed in range(1, 11)]


def rates_of(name):
    """The rates of an optimizer: those of Prodigy are around 1."""
    return [30 * rate for rate in RATES] if name == "prodigy" else RATES


def settings_of(name):
    """Settings that all count in the result, by SVoice's names and by Spleeter's."""
    settings = {**FILES[name]["svoice"], "weight_decay": 0.1}
    settings |= {key: 0.1 for key in ("eps",) if key in settings}
    # Both make Prodigy's estimate grow within ten steps.
    large = {"d_coef": 1e3, "d0": 2e-6}
    settings |= {key: value for key, value in large.items() if key in settings}
    names = {setting.key(menu.SVOICE): setting.name for setting in menu.OPTIMIZERS[name].settings}
    return settings, {names[key]: value for key, value in settings.items()}


def parameters_of(weights):
    return [nn.Parameter(torch.tensor(array)) for array in weights]


def steps_of(optimizer, parameters, rates, gradients=GRADIENTS):
    """Takes steps, and yields after each of them."""
    for gradient, rate in zip(gradients, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for parameter, array in zip(parameters, gradient, strict=True):
            parameter.grad = torch.tensor(array)
        optimizer.step()
        yield


def copies(parameters):
    return [parameter.detach().clone().numpy() for parameter in parameters]


def assert_steps(actual, expected, **tolerance):
    assert len(actual) == len(expected) == 10
    for step, expected_step in zip(actual, expected, strict=True):
        for array, expected_array in zip(step, expected_step, strict=True):
            np.testing.assert_allclose(array, expected_array, **tolerance)


@pytest.fixture
def exact(monkeypatch):
    """Lets torch.optim.Muon iterate in float64 in the place of bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)


@pytest.mark.parametrize("name", NEW)
def test_ten_steps_follow_the_formula(name, exact):
    settings, named = settings_of(name)
    parameters = parameters_of(WEIGHTS)
    optimizer = make_optimizer(name, settings, parameters)
    actual = [copies(parameters) for _ in steps_of(optimizer, parameters, rates_of(name))]
    expected = formulas.FORMULAS[name](GRADIENTS, WEIGHTS, named, rates_of(name))
    assert_steps(actual, expected, rtol=0, atol=1e-12)
    # Every parameter moves by more than the tolerance, and by other steps under other settings.
    for first, last in zip(WEIGHTS, expected[-1], strict=True):
        assert (abs(last - first) > 1e-6).any()
    for key in set(named) - {"learning_rate"}:
        others = formulas.FORMULAS[name](
            GRADIENTS, WEIGHTS, {**named, key: named[key] * 0.9}, rates_of(name)
        )
        assert any(
            (abs(other - array) > 1e-9).any()
            for other, array in zip(others[-1], expected[-1], strict=True)
        ), key


def reference(name, parameters, settings):
    """The implementation of torch or of the authors, with the same settings."""
    beta = {"betas": (settings["beta1"], settings["beta2"])}
    both = {"lr": settings["lr"], "weight_decay": settings["weight_decay"]}
    if name == "prodigy":
        return ProdigyReference(
            parameters,
            **both,
            **beta,
            eps=settings["eps"],
            d_coef=settings["d_coef"],
            d0=settings["d0"],
            use_bias_correction=True,
            safeguard_warmup=True,
        )
    optimizer = AdamWScheduleFreeReference(parameters, **both, **beta, eps=settings["eps"])
    optimizer.train()
    return optimizer


@pytest.mark.parametrize("name", ["prodigy", "schedulefree"])
def test_ten_steps_are_those_of_the_authors(name):
    settings, _ = settings_of(name)
    ours, theirs = parameters_of(WEIGHTS), parameters_of(WEIGHTS)
    optimizer = make_optimizer(name, settings, ours)
    authors = reference(name, theirs, settings)
    for _ in zip(
        steps_of(optimizer, ours, rates_of(name)),
        steps_of(authors, theirs, rates_of(name)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_ten_steps_of_muon_are_those_of_torch():
    """Exactly, with each kernel as a matrix and AdamW for the rest."""
    settings, _ = settings_of("muon")
    ours = parameters_of(WEIGHTS)
    optimizer = make_optimizer("muon", settings, ours)
    matrices = parameters_of([array.reshape(len(array), -1) for array in WEIGHTS[:3]])
    others = parameters_of(WEIGHTS[3:])
    both = {"lr": settings["lr"], "weight_decay": settings["weight_decay"]}
    muon = torch.optim.Muon(
        matrices, **both, momentum=settings["momentum"], adjust_lr_fn="match_rms_adamw"
    )
    betas = (settings["beta1"], settings["beta2"])
    adamw = torch.optim.AdamW(others, **both, betas=betas, eps=settings["eps"], fused=True)
    flat = [[g.reshape(len(g), -1) for g in gradient[:3]] for gradient in GRADIENTS]
    rest = [gradient[3:] for gradient in GRADIENTS]
    for _ in zip(
        steps_of(optimizer, ours, RATES),
        steps_of(muon, matrices, RATES, flat),
        steps_of(adamw, others, RATES, rest),
        strict=True,
    ):
        for parameter, expected in zip(ours, [*matrices, *others], strict=True):
            assert torch.equal(parameter, expected.view_as(parameter))


def test_muon_rounds_little():
    """torch.optim.Muon iterates in bfloat16, whose numbers have a relative error up to 1/256."""
    settings, named = settings_of("muon")
    parameters = parameters_of(WEIGHTS)
    optimizer = make_optimizer("muon", settings, parameters)
    actual = [copies(parameters) for _ in steps_of(optimizer, parameters, RATES)]
    assert_steps(actual, formulas.muon(GRADIENTS, WEIGHTS, named, RATES), rtol=0, atol=2e-3)


def test_muon_steps_alike_on_a_matrix_and_its_transpose(exact):
    settings, _ = settings_of("muon")
    results = []
    for axes in ((0, 1), (1, 0)):
        weights = parameters_of([WEIGHTS[1].transpose(axes)])
        optimizer = make_optimizer("muon", settings, weights)
        gradients = [[gradient[1].transpose(axes)] for gradient in GRADIENTS]
        list(steps_of(optimizer, weights, RATES, gradients))
        results.append(weights[0].detach().permute(axes))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def test_muon_trains_weights_that_have_moved():
    """As they do when a network is moved to another device."""
    settings, _ = settings_of("muon")
    results = []
    for moves in (False, True):
        parameters = parameters_of(WEIGHTS)
        optimizer = make_optimizer("muon", settings, parameters)
        for _ in steps_of(optimizer, parameters, RATES):
            for parameter in parameters if moves else []:
                parameter.data = parameter.data.clone()
        results.append(copies(parameters))
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", NEW)
def test_a_new_optimizer_resumes_exactly_from_the_state_in_a_checkpoint(name):
    settings, _ = settings_of(name)
    parameters = parameters_of(WEIGHTS)
    optimizer = make_optimizer(name, settings, parameters)
    expected = [copies(parameters) for _ in steps_of(optimizer, parameters, rates_of(name))]
    resumed = parameters_of(WEIGHTS)
    optimizer = make_optimizer(name, settings, resumed)
    first, second = slice(None, 4), slice(4, None)
    list(steps_of(optimizer, resumed, rates_of(name)[first], GRADIENTS[first]))
    content = to_bytes(optimizer.state_dict())
    resumed = parameters_of(copies(resumed))
    optimizer = make_optimizer(name, settings, resumed)
    optimizer.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
    list(steps_of(optimizer, resumed, rates_of(name)[second], GRADIENTS[second]))
    for actual, array in zip(copies(resumed), expected[-1], strict=True):
        assert np.array_equal(actual, array)


@pytest.mark.parametrize("name", NEW)
def test_a_step_with_an_overflow_in_fp16_leaves_the_optimizer_as_it_was(name):
    settings, _ = settings_of(name)
    results = []
    for overflows in (False, True):
        parameters = parameters_of([array.astype("float32") for array in WEIGHTS])
        optimizer = make_optimizer(name, settings, parameters)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for number, gradient in enumerate(GRADIENTS):
            for overflow in (True, False) if overflows and number == 4 else (False,):
                scaler.scale(torch.ones(()))
                for parameter, array in zip(parameters, gradient, strict=True):
                    grad = torch.tensor(array.astype("float32")) * scaler.get_scale()
                    parameter.grad = grad + torch.inf if overflow else grad
                scaler.unscale_(optimizer)
                scaler.step(optimizer)
                scaler.update()
        results.append(copies(parameters))
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
    assert not np.array_equal(results[0][0], WEIGHTS[0].astype("float32"))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_weights_to_keep_of_schedulefree_are_the_average(decay):
    """And to look at them changes no later step by a bit."""
    settings, named = settings_of("schedulefree")
    settings, named = settings | {"weight_decay": decay}, named | {"weight_decay": decay}
    undisturbed = parameters_of(WEIGHTS)
    optimizer = make_optimizer("schedulefree", settings, undisturbed)
    expected = [copies(undisturbed) for _ in steps_of(optimizer, undisturbed, RATES)]
    parameters = parameters_of(WEIGHTS)
    optimizer = make_optimizer("schedulefree", settings, parameters)
    with averaged(optimizer):
        assert all(map(np.array_equal, copies(parameters), WEIGHTS))
    averages = []
    for step, _ in enumerate(steps_of(optimizer, parameters, RATES)):
        with averaged(optimizer):
            averages.append(copies(parameters))
        assert all(map(np.array_equal, copies(parameters), expected[step]))
    formula = formulas.schedulefree(GRADIENTS, WEIGHTS, named, RATES, averaged=True)
    assert_steps(averages, formula, rtol=0, atol=1e-12)
    assert all((a != b).all() for a, b in zip(averages[-1], expected[-1], strict=True))


def test_the_weights_that_are_trained_come_back_after_an_error():
    settings, _ = settings_of("schedulefree")
    parameters = parameters_of(WEIGHTS)
    optimizer = make_optimizer("schedulefree", settings, parameters)
    list(steps_of(optimizer, parameters, RATES))
    expected = copies(parameters)
    with pytest.raises(KeyboardInterrupt), averaged(optimizer):
        raise KeyboardInterrupt
    assert all(map(np.array_equal, copies(parameters), expected))
    list(steps_of(optimizer, parameters, RATES))


@pytest.mark.parametrize("name", sorted(set(FILES) - {"schedulefree"}))
def test_other_optimizers_keep_the_weights_that_they_train(name):
    parameters = parameters_of(WEIGHTS)
    optimizer = make_optimizer(name, FILES[name]["svoice"], parameters)
    list(steps_of(optimizer, parameters, RATES))
    expected = copies(parameters)
    with averaged(optimizer):
        assert all(map(np.array_equal, copies(parameters), expected))


def test_the_memory_of_the_state():
    """In tensors of the size of the weights; the numbers of steps take 4 bytes for a parameter."""
    counts = [int(np.prod(shape)) for shape in SHAPES]
    matrices, others = sum(counts[:3]), sum(counts[3:])
    expected = {
        "sgd": 0,
        "momentum": matrices + others,
        "adagrad": matrices + others + 6,
        "adam": 2 * (matrices + others) + 6,
        "lion": matrices + others,
        "muon": matrices + 2 * others + 3,
        "schedulefree": 2 * (matrices + others),
        "prodigy": 4 * (matrices + others) - counts[4] + 1,  # where it began, a zero counts once
    }
    for name, numbers in expected.items():
        parameters = parameters_of([array.astype("float32") for array in WEIGHTS])
        optimizer = make_optimizer(name, FILES[name]["svoice"], parameters)
        gradients = [[array.astype("float32") for array in GRADIENTS[0]]]
        list(steps_of(optimizer, parameters, [0.1], gradients))
        assert state_bytes(optimizer) == 4 * numbers, name
