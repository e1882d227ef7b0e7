"""params.yaml says what people compare, and whatever else differs from the default."""

from functools import partial

import pytest

from studies.choices import composed
from studies.composition import shown
from tests.conftest import ROOT

compose = partial(composed, ROOT / "conf")
SUMMARY = {"optimizer": "adam", "schedule": "cosine", "clipping": "norm", "seed": 0}


def params(*overrides: str) -> dict:
    return shown(compose(overrides), lambda *names: compose(names))


def test_the_default_is_five_columns():
    assert params() == {**SUMMARY, "rates": params()["rates"]}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer=sgd", "seed=3"], {"optimizer": "sgd", "seed": 3, "rates": "0.1, 0.1"}),
        (["optimizer.svoice.lr=0.5", "optimizer.spleeter.learning_rate=2"], {"rates": "2, 0.5"}),
        (["svoice.epochs=77"], {"svoice.epochs": 77}),
        (["svoice=published"], {"svoice.name": "published"}),
        (["svoice=published", "svoice.N=64"], {"svoice.name": "published", "svoice.N": 64}),
        (
            ["clipping=value", "clipping.max_value=3"],
            {"clipping": "value", "clipping.max_value": 3},
        ),
        (["music=folder", "music.path=/songs"], {"music.name": "folder", "music.path": "/songs"}),
    ],
)
def test_what_differs_is_shown_and_nothing_else(overrides, expected):
    default = {key: value for key, value in params().items() if key not in expected}
    actual = params(*overrides)
    if "rates" not in expected:
        actual.pop("rates")
        default.pop("rates", None)
    assert actual == {**default, **expected}
