"""The spaces in which optimizers are tuned, and the points that are tried in them."""

import numpy as np
import pytest

from contract.errors import InputError
from contract.menu import OPTIMIZERS, SPLEETER, SVOICE, check_optimizer
from report.tuning import Axis
from studies.search import dimension, overrides, points, read_space, settings_at
from tests.conftest import ROOT
from tests.yaml_files import read_yaml

FOLDER = ROOT / "conf" / "search"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_point_of_every_optimizer_is_a_valid_configuration(optimizer):
    space = read_space(optimizer, FOLDER)
    assert next(iter(space)) == "learning_rate"
    assert space["learning_rate"].scale == "log"
    corners = [np.zeros(dimension(FOLDER)), np.ones(dimension(FOLDER))]
    for point in (*corners, *points(8, dimension(FOLDER), seed=0)):
        settings = settings_at(space, point)
        for name, axis in space.items():
            assert axis.low <= settings[name] <= axis.high
        group = read_yaml(ROOT / "conf" / "optimizer" / f"{optimizer}.yaml")
        for trainer in (SPLEETER, SVOICE):
            for text in overrides(optimizer, trainer, settings):
                path, _, value = text.partition("=")
                assert path.startswith(f"optimizer.{trainer}.")
                key = path.rpartition(".")[2]
                assert key in group[trainer]
                group[trainer][key] = float(value)
            check_optimizer(optimizer, group[trainer], trainer)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_rate_of_the_menu_is_within_the_space_for_both_models(optimizer):
    low, high, _ = read_space(optimizer, FOLDER)["learning_rate"]
    group = read_yaml(ROOT / "conf" / "optimizer" / f"{optimizer}.yaml")
    for rate in (group[SPLEETER]["learning_rate"], group[SVOICE]["lr"]):
        assert low < rate < high


def test_there_is_a_space_for_each_optimizer_and_none_else():
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(OPTIMIZERS)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis(1e-4, 1e-2, "log"), [1e-4, 1e-3, 1e-2]),
        (Axis(1.0, 3.0, "linear"), [1.0, 2.0, 3.0]),
        (Axis(0.9, 0.999, "one_minus_log"), [0.9, 0.99, 0.999]),
    ],
)
def test_the_scales(axis, expected):
    values = [settings_at({"x": axis}, [part])["x"] for part in (0.0, 0.5, 1.0)]
    assert values == pytest.approx(expected, rel=1e-9)


def test_settings_have_few_digits_and_stay_within_the_space():
    assert settings_at({"x": Axis(1.00004, 2.0, "log")}, [0.0]) == {"x": 1.00004}
    assert settings_at({"x": Axis(1e-4, 1e-1, "log")}, [0.41]) == {"x": 0.001698}
    assert settings_at({"x": Axis(0.9, 0.9999, "one_minus_log")}, [0.99]) == {"x": 0.9998928}


def test_points_are_the_same_on_every_machine():
    expected = [[0.40994959, 0.96412022], [0.72191166, 0.10752478], [0.90486641, 0.52855152]]
    assert points(3, 2, seed=0) == pytest.approx(np.array(expected), abs=1e-8)


def test_more_points_begin_with_the_fewer():
    few, many = points(6, 3, seed=4, repetition=1), points(17, 3, seed=4, repetition=1)
    assert few.shape == (6, 3)
    assert (many[:6] == few).all()
    assert (many >= 0).all() and (many < 1).all()


def test_seeds_and_repetitions_have_points_of_their_own():
    sets = [points(4, 2, *which) for which in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert all((one != two).all() for i, one in enumerate(sets) for two in sets[:i])


def test_points_cover_every_axis_evenly():
    """Each half, quarter, … of an axis has its share, unlike with independent points."""
    for column in points(16, 3, seed=2).T:
        assert sorted(np.floor(column * 16)) == list(range(16))


def test_one_point():
    assert points(1, 2, seed=0).shape == (1, 2)


RATE = "learning_rate: {low: 1e-4, high: 1e-1, scale: log}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", ": found [], expected a group of settings"),
        ("{}", ": learning_rate is not the first setting; put it first"),
        (
            f"{RATE}momentum: {{low: 0.5, high: 0.9, scale: log}}",
            ", momentum: adam has no such setting; its settings are learning_rate, beta1, beta2, "
            "epsilon, epsilon_before_correction",
        ),
        (
            f"{RATE}beta1: {{low: 0.5, high: 1.0, scale: log}}",
            ", beta1.high: found 1.0, expected a number from 0 to below 1",
        ),
        (
            "learning_rate: {low: 0.1, high: 0.1, scale: log}",
            ", learning_rate.high: found 0.1, expected more than 0.1",
        ),
        (
            f"{RATE}beta1: {{low: 0.0, high: 0.9, scale: log}}",
            ", beta1.low: found 0.0, expected a number above 0",
        ),
        (
            "learning_rate: {low: 0.1, high: 1.0, scale: one_minus_log}",
            ", learning_rate.high: found 1.0, expected a number below 1",
        ),
        (
            "learning_rate: {low: 0.1, high: 1.0, scale: logarithmic}",
            ", learning_rate.scale: found 'logarithmic', expected 'log', 'linear' or "
            "'one_minus_log'",
        ),
        (
            "learning_rate: {low: 0.1, high: 1.0}",
            ", learning_rate.scale: is missing; each setting has low, high and scale, as in "
            "conf/search/adam.yaml",
        ),
        (
            "beta1: {low: 0.5, high: 0.9, scale: one_minus_log}",
            ": learning_rate is not the first setting; put it first",
        ),
    ],
)
def test_a_file_that_is_not_a_space_is_one_line(tmp_path, text, message):
    path = tmp_path / "adam.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_space("adam", tmp_path)
    assert str(caught.value) == f"{path}{message}"


def test_an_optimizer_without_a_space_is_one_line(tmp_path):
    (tmp_path / "adam.yaml").write_text(RATE)
    with pytest.raises(InputError) as caught:
        read_space("sgd", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/sgd.yaml: is missing: there is no space in which this optimizer could be "
        "tuned; write it, or tune adam"
    )
