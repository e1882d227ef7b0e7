"""The interfaces of Spleeter that this package relies on, which an upgrade might change."""

import inspect

import numpy as np
import pytest
import spleeter.dataset
import spleeter.model
import tensorflow as tf

from contract.sources import STEMS
from spleeter_mod import model
from spleeter_mod.adapter import SoundfileAudioAdapter

SUBCLASSES = [
    model.SpecBuilder,
    SoundfileAudioAdapter,
]
PARAMS = {
    "mix_name": "mix",
    "instrument_list": list(STEMS),
    "n_channels": 2,
    "T": 64,
    "F": 64,
    "frame_length": 4096,
    "frame_step": 1024,
    "model": {
        "type": "unet.unet",
        "params": {
            "conv_activation": "ELU",
            "deconv_activation": "ELU",
            "conv_n_filters": [4, 4, 4, 8, 8, 8],
        },
    },
}
RATE = 0.1
STOCK = {**PARAMS, "optimizer": "SGD", "learning_rate": RATE}
OURS = {
    **PARAMS,
    "optimizer": {"name": "sgd", "learning_rate": RATE},
    "schedule": {"name": "constant", "warmup_steps": 0},
    "clipping": {"name": "none"},
    "validate_every": 2,
    "steps": 4,
}


@pytest.mark.parametrize("subclass", SUBCLASSES, ids=lambda subclass: subclass.__name__)
def test_overrides_have_the_parameters_of_spleeter(subclass):
    parent = subclass.__base__
    overrides = [
        name
        for name, value in vars(subclass).items()
        if inspect.isfunction(value) and name != "__init__"
    ]
    assert overrides
    for name in overrides:
        expected = list(inspect.signature(getattr(parent, name)).parameters)
        assert list(inspect.signature(getattr(subclass, name)).parameters) == expected, name


def losses(model_fn, params):
    """Returns the losses of four steps on one batch."""
    random = np.random.default_rng(0)
    mixture = random.random((2, 64, 64, 2), np.float32)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(1)
        tf.compat.v1.train.create_global_step()
        features = {"mix_spectrogram": tf.constant(mixture)}
        labels = {f"{stem}_spectrogram": tf.constant(mixture * 0.2) for stem in STEMS}
        spec = model_fn(features, labels, tf.estimator.ModeKeys.TRAIN, params)
        session.run(tf.compat.v1.global_variables_initializer())
        feed = dict.fromkeys(tf.compat.v1.get_collection(model.LEARNING_RATES), RATE)
        return [session.run([spec.loss, spec.train_op], feed)[0] for _ in range(4)]


def test_gradient_descent_has_the_losses_of_stock_spleeter():
    """If dropout and batch normalisation were active, the losses of stock Spleeter would depend on
    random numbers, and differ from ours."""
    expected = losses(spleeter.model.model_fn, STOCK)
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(losses(model.model_fn, OURS), expected, rtol=1e-6)
