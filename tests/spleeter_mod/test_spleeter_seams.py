"""Where this package takes hold of Spleeter: what an upgrade of Spleeter might break."""

import inspect

import numpy as np
import pytest
import spleeter.dataset
import spleeter.model
import tensorflow as tf

from spleeter_mod import model
from spleeter_mod.adapter import SoundfileAudioAdapter
from spleeter_mod.settings import STEMS

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
STOCK = {**PARAMS, "optimizer": "SGD", "learning_rate": 0.1}
OURS = {
    **PARAMS,
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "schedule": {"name": "constant", "warmup_steps": 0},
    "clipping": {"name": "none"},
    "validate_every": 2,
    "steps": 4,
}


@pytest.mark.parametrize("subclass", SUBCLASSES, ids=lambda subclass: subclass.__name__)
def test_overrides_take_what_spleeter_gives(subclass):
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
    """Of four steps on one batch."""
    random = np.random.default_rng(0)
    mixture = random.random((2, 64, 64, 2), np.float32)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(1)
        tf.compat.v1.train.create_global_step()
        features = {"mix_spectrogram": tf.constant(mixture)}
        labels = {f"{stem}_spectrogram": tf.constant(mixture * 0.2) for stem in STEMS}
        spec = model_fn(features, labels, tf.estimator.ModeKeys.TRAIN, params)
        session.run(tf.compat.v1.global_variables_initializer())
        return [session.run([spec.loss, spec.train_op])[0] for _ in range(4)]


def test_plain_descent_is_stock_spleeters_own():
    """Dropout and batch normalisation included: were they to train, stock Spleeter's losses
    would be drawn at random, and differ from ours."""
    expected = losses(spleeter.model.model_fn, STOCK)
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(losses(model.model_fn, OURS), expected, rtol=1e-6)
