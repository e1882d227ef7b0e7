"""What both trainers read of the composed configuration, and what they refuse."""

from pathlib import Path

import pytest

from contract.composed import Composed
from contract.errors import InputError
from tests.conftest import ROOT
from tests.yaml_files import read_yaml

CONFIGURATION = read_yaml(ROOT / "configuration.yaml")


def test_both_trainers_read_their_part_of_the_committed_params():
    composed = Composed.read(ROOT / "configuration.yaml")
    assert composed.seed == CONFIGURATION["seed"]
    for trainer, group in (("spleeter", "music"), ("svoice", "speech")):
        assert composed.sample_rate(group) == CONFIGURATION[group]["sample_rate"]
        name, settings = composed.optimizer(trainer)
        assert name == CONFIGURATION["optimizer"]["name"]
        assert settings == CONFIGURATION["optimizer"][trainer]
    assert composed.choice("schedule") == CONFIGURATION["schedule"]
    assert composed.choice("clipping") == CONFIGURATION["clipping"]


@pytest.mark.parametrize(
    ("values", "read", "line"),
    [
        (None, lambda composed: composed.seed, "a.yaml: has no key seed; compose it from conf/"),
        (
            {"music": 44100},
            lambda composed: composed.sample_rate("music"),
            "a.yaml: has no key music.sample_rate; compose it from conf/",
        ),
        (
            {"seed": -1},
            lambda composed: composed.seed,
            "seed: found -1, expected a whole number from 0 to 2147483647",
        ),
        (
            {"speech": {"sample_rate": 8000.0}},
            lambda composed: composed.sample_rate("speech"),
            "speech.sample_rate: found 8000.0, expected a whole number from 1 to 2147483647",
        ),
        (
            {"optimizer": {"name": "sgd", "svoice": {}}},
            lambda composed: composed.optimizer("svoice"),
            "optimizer.svoice.lr: is missing; set it to a number above 0",
        ),
    ],
)
def test_the_first_wrong_key_is_named(values, read, line):
    with pytest.raises(InputError) as refused:
        read(Composed(values, "a.yaml"))
    assert str(refused.value) == line


def test_a_missing_file_is_refused():
    with pytest.raises(InputError) as refused:
        Composed.read(Path("no.yaml"))
    assert str(refused.value) == "no.yaml: there is no such file; compose it from conf/"
