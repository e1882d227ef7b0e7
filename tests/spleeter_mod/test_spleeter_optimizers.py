"""Every optimizer against its formula in double precision.

That is the formula of torch.optim, or of its authors where PyTorch has none, or of TensorFlow 1
where settings choose it.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from contract import menu
from spleeter_mod.optimizers import OPTIMIZERS, make_optimizer, weights_to_keep
from tests import formulas
from tests.yaml_files import read_yaml

STEPS = 10
START = np.array([1.0, -2.0, 0.5, 3.0, 0.0])
CURVATURE = np.array([1.0, 0.3, 30.0, 1e-3, 5.0])
CENTRE = np.array([0.2, 0.1, -0.4, 0.0, 1e-6])


def gradient_at(weights):
    """Returns the gradient of sum(curvature × (weights - centre)²) / 2."""
    return CURVATURE * (weights - CENTRE)


def sgd(p, g, t, state, learning_rate):
    return p - learning_rate * g


def momentum(p, g, t, state, learning_rate, momentum):
    state["b"] = momentum * state["b"] + g
    return p - learning_rate * state["b"]


def nesterov(p, g, t, state, learning_rate, momentum):
    state["b"] = momentum * state["b"] + g
    return p - learning_rate * (g + momentum * state["b"])


def adagrad(p, g, t, state, learning_rate, initial_accumulator_value, epsilon):
    if t == 1:
        state["s"] = state["s"] + initial_accumulator_value
    state["s"] = state["s"] + g**2
    return p - learning_rate * g / (np.sqrt(state["s"]) + epsilon)


def adadelta(p, g, t, state, learning_rate, rho, epsilon):
    state["v"] = rho * state["v"] + (1 - rho) * g**2
    change = np.sqrt(state["u"] + epsilon) / np.sqrt(state["v"] + epsilon) * g
    state["u"] = rho * state["u"] + (1 - rho) * change**2
    return p - learning_rate * change


def rmsprop(
    p,
    g,
    t,
    state,
    learning_rate,
    alpha,
    momentum,
    epsilon,
    initial_mean_square,
    epsilon_inside_root,
):
    if t == 1:
        state["v"] = state["v"] + initial_mean_square
    state["v"] = alpha * state["v"] + (1 - alpha) * g**2
    inside, outside = (epsilon, 0) if epsilon_inside_root else (0, epsilon)
    root = np.sqrt(state["v"] + inside) + outside
    state["b"] = momentum * state["b"] + g / root
    return p - learning_rate * state["b"]


def adam(p, g, t, state, learning_rate, beta1, beta2, epsilon, epsilon_before_correction=False):
    state["m"] = beta1 * state["m"] + (1 - beta1) * g
    state["v"] = beta2 * state["v"] + (1 - beta2) * g**2
    m, correction = state["m"] / (1 - beta1**t), np.sqrt(1 - beta2**t)
    if epsilon_before_correction:
        return p - learning_rate * m * correction / (np.sqrt(state["v"]) + epsilon)
    return p - learning_rate * m / (np.sqrt(state["v"]) / correction + epsilon)


def adamw(p, g, t, state, learning_rate, beta1, beta2, epsilon, weight_decay):
    decayed = p - learning_rate * weight_decay * p
    return adam(decayed, g, t, state, learning_rate, beta1, beta2, epsilon)


def adamax(p, g, t, state, learning_rate, beta1, beta2, epsilon):
    state["m"] = beta1 * state["m"] + (1 - beta1) * g
    state["u"] = np.maximum(beta2 * state["u"], np.abs(g) + epsilon)
    return p - learning_rate / (1 - beta1**t) * state["m"] / state["u"]


def nadam(p, g, t, state, learning_rate, beta1, beta2, epsilon, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    next_mu = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    state["product"] = mu * (state["product"] if t > 1 else 1)
    state["m"] = beta1 * state["m"] + (1 - beta1) * g
    state["v"] = beta2 * state["v"] + (1 - beta2) * g**2
    denominator = np.sqrt(state["v"] / (1 - beta2**t)) + epsilon
    p = p - learning_rate * (1 - mu) / (1 - state["product"]) * g / denominator
    return p - (
        learning_rate * next_mu / (1 - state["product"] * next_mu) * state["m"] / denominator
    )


FORMULAS = {
    formula.__name__: formula
    for formula in (
        *(sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam, adamw, adamax, nadam),
    )
}
CONF = Path(__file__).resolve().parents[2] / "conf" / "optimizer"
MENU = {path.stem: read_yaml(path)["spleeter"] for path in CONF.glob("*.yaml")}
# Settings with which a wrong place of epsilon, of a power or of the rate matters.
UNUSUAL = {
    "sgd": {"learning_rate": 0.05},
    "momentum": {"learning_rate": 0.01, "momentum": 0.5},
    "nesterov": {"learning_rate": 0.01, "momentum": 0.5},
    "adagrad": {"learning_rate": 0.3, "initial_accumulator_value": 0.2, "epsilon": 0.1},
    "adadelta": {"learning_rate": 0.7, "rho": 0.6, "epsilon": 0.01},
    "rmsprop": {
        "learning_rate": 0.02,
        "alpha": 0.7,
        "momentum": 0.6,
        "epsilon": 0.1,
        "initial_mean_square": 0.3,
        "epsilon_inside_root": False,
    },
    "adam": {
        "learning_rate": 0.1,
        "beta1": 0.8,
        "beta2": 0.9,
        "epsilon": 0.1,
        "epsilon_before_correction": False,
    },
    "adamw": {
        "learning_rate": 0.1,
        "beta1": 0.8,
        "beta2": 0.9,
        "epsilon": 0.1,
        "weight_decay": 0.3,
    },
    "adamax": {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.7, "epsilon": 0.1},
    "nadam": {
        "learning_rate": 0.1,
        "beta1": 0.8,
        "beta2": 0.9,
        "epsilon": 0.1,
        "momentum_decay": 0.5,
    },
}
# Settings that choose the formula of TensorFlow 1; that of RMSProp is computed in two ways.
TENSORFLOW = [
    ("adagrad", {**UNUSUAL["adagrad"], "epsilon": 0.0}),
    ("rmsprop", {**UNUSUAL["rmsprop"], "epsilon_inside_root": True}),
    ("rmsprop", {**UNUSUAL["rmsprop"], "epsilon_inside_root": True, "momentum": 0.0}),
    ("adam", {**UNUSUAL["adam"], "epsilon_before_correction": True}),
]


def by_formula(name, hyper):
    weights, state = START.copy(), dict.fromkeys("bsuvm", np.zeros_like(START))
    path = []
    for t in range(1, STEPS + 1):
        weights = FORMULAS[name](weights, gradient_at(weights), t, state, **hyper)
        path.append(weights)
    return path


def by_tensorflow(name, hyper):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        step = tf.compat.v1.train.get_or_create_global_step()
        # There are two variables, because each must have its own state.
        halves = [
            tf.Variable(START[:2], dtype=tf.float32),
            tf.Variable(START[2:], dtype=tf.float32),
        ]
        weights = tf.concat(halves, 0)
        loss = tf.reduce_sum(CURVATURE.astype("f4") * (weights - CENTRE.astype("f4")) ** 2) / 2
        rate = tf.constant(hyper["learning_rate"], tf.float32)
        optimizer = make_optimizer({"name": name, **hyper}, rate, step)
        train = optimizer.minimize(loss, global_step=step)
        session.run(tf.compat.v1.global_variables_initializer())
        path = []
        for _ in range(STEPS):
            session.run(train)
            path.append(session.run(weights))
        return path


def test_the_menu_conf_and_the_package_have_the_same_optimizers():
    assert set(MENU) == set(OPTIMIZERS) == set(menu.OPTIMIZERS)
    assert set(MENU) == {*FORMULAS, *formulas.FORMULAS}


@pytest.mark.parametrize("name", sorted(FORMULAS))
@pytest.mark.parametrize("hypers", [MENU, UNUSUAL], ids=["menu", "unusual"])
def test_ten_steps_follow_the_formula(name, hypers):
    assert_follows(name, hypers[name])


@pytest.mark.parametrize(("name", "hyper"), TENSORFLOW)
def test_ten_steps_follow_the_formula_of_tensorflow(name, hyper):
    assert_follows(name, hyper)


def assert_follows(name, hyper):
    expected = by_formula(name, hyper)
    assert np.abs(expected[-1] - START).max() > 1e-4
    np.testing.assert_allclose(by_tensorflow(name, hyper), expected, rtol=1e-5, atol=1e-5)


# Kernels of a convolution, with more rows than columns as a matrix in PyTorch, and of a transposed
# one, with fewer; matrices; vectors, of which one begins at zero; a scalar.
SHAPES = [(1, 2, 2, 7), (2, 3, 3, 4), (5, 3), (3, 5), (4,), (3,), ()]
# The rates of a warm-up, and of a schedule that lowers them.
RATES = [0.01, 0.02, 0.03, 0.03, 0.03, 0.02, 0.02, 0.01, 0.01, 0.005]


def arrays(seed):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype("f4") for shape in SHAPES]


WEIGHTS = [array * np.float32(number != 5) for number, array in enumerate(arrays(0))]
# They agree so far that Prodigy's estimate grows.
GRADIENTS = [
    [common + noise / 2 for common, noise in zip(arrays(STEPS + 1), arrays(seed), strict=True)]
    for seed in range(1, STEPS + 1)
]


def in_pytorch(array):
    """Returns a kernel or a matrix with its axes in PyTorch's order.

    That is (out, in, h, w) for (h, w, in, out), and for transposed convolutions (in, out, h, w) for
    (h, w, out, in).
    """
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return array.astype(float).transpose(axes)


def settings_of(name):
    """Returns settings that all count in the result."""
    settings = {**MENU[name], "weight_decay": 0.3}
    settings |= {key: 0.1 for key in ("epsilon",) if key in settings}
    # Both make Prodigy's estimate grow within ten steps.
    large = {"d_coef": 10.0, "d0": 1e-4}
    return settings | {key: value for key, value in large.items() if key in settings}


def steps_by_tensorflow(name, settings, rates):
    """Returns the weights after each step, and those to keep."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        step = tf.compat.v1.train.get_or_create_global_step()
        rate = tf.compat.v1.placeholder(tf.float32, ())
        weights = [
            tf.compat.v1.get_variable(f"weight{number}", initializer=array)
            for number, array in enumerate(WEIGHTS)
        ]
        gradients = [tf.compat.v1.placeholder(tf.float32, shape) for shape in SHAPES]
        optimizer = make_optimizer({"name": name, **settings}, rate, step)
        train = optimizer.apply_gradients(zip(gradients, weights, strict=True), step)
        variables = {v.op.name: v for v in tf.compat.v1.global_variables()}
        kept = weights_to_keep({"name": name, **settings}, variables)
        kept = [kept[weight.op.name] for weight in weights]
        session.run(tf.compat.v1.global_variables_initializer())
        paths = [session.run((weights, kept))]
        for values, value in zip(GRADIENTS, rates, strict=True):
            session.run(train, {rate: value, **dict(zip(gradients, values, strict=True))})
            paths.append(session.run((weights, kept)))
    (_, first), *rest = paths
    for array, expected in zip(first, WEIGHTS, strict=True):
        np.testing.assert_array_equal(array, expected)
    return zip(*rest, strict=True)


def assert_steps(actual, expected):
    for number, (step, expected_step) in enumerate(zip(actual, expected, strict=True)):
        for array, expected_array in zip(step, expected_step, strict=True):
            np.testing.assert_allclose(
                in_pytorch(array), expected_array, rtol=0, atol=1e-5, err_msg=f"step {number + 1}"
            )


@pytest.mark.parametrize("name", sorted(formulas.FORMULAS))
def test_ten_steps_on_weights_of_every_shape_follow_the_formula(name):
    settings, formula = settings_of(name), formulas.FORMULAS[name]
    # The rates of Prodigy are around 1.
    rates = [100 * rate for rate in RATES] if name == "prodigy" else RATES
    weights = [in_pytorch(array) for array in WEIGHTS]
    gradients = [[in_pytorch(array) for array in step] for step in GRADIENTS]
    actual, kept = steps_by_tensorflow(name, settings, rates)
    expected = formula(gradients, weights, settings, rates)
    assert_steps(actual, expected)
    if name == "schedulefree":
        averages = formula(gradients, weights, settings, rates, averaged=True)
        assert_steps(kept, averages)
        assert all(
            (abs(average - array) > 1e-4).any()
            for average, array in zip(averages[-1], expected[-1], strict=True)
        )
    else:
        assert_steps(kept, expected)
    # Every weight moves by more than the tolerance, and by other steps under other settings.
    for first, last in zip(weights, expected[-1], strict=True):
        assert (abs(last - first) > 1e-4).any()
    for key in settings.keys() - {"learning_rate"}:
        others = formula(gradients, weights, {**settings, key: settings[key] * 0.9}, rates)
        differences = [
            abs(other - array).max() for other, array in zip(others[-1], expected[-1], strict=True)
        ]
        assert max(differences) > 5e-5, key
