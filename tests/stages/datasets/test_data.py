"""The embedded data sets: their splits, and the levels of their mixtures."""

from itertools import pairwise

import numpy as np
import pytest
import soundfile

from contract import params
from stages.datasets.wsj0mix import read_levels, read_recipes, split_folder
from tests.conftest import ROOT, TEST_DATA

MUSIC = params.load(ROOT / "configuration.yaml").music


def test_the_splits_do_not_overlap():
    parts = {
        part: soundfile.read(path)[0]
        for part in ("train", "valid", "test")
        for path in (TEST_DATA / "data/music").glob(f"*/*({part})/mixture.wav")
    }
    assert {part: len(samples) / 44100 for part, samples in parts.items()} == {
        "train": 2.5,
        "valid": 1.5,
        "test": 2.0,
    }
    parts = sorted(bounds for _, bounds in MUSIC.source.parts)
    assert all(end <= start for (_, end), (start, _) in pairwise(parts))


def test_mixtures_are_the_sum_of_their_sources_at_the_recipes_levels():
    recipes = TEST_DATA / "data/speech/recipes"
    folder = split_folder(TEST_DATA / "data/speech/mixtures", 8000, "min", "test")
    levels = read_levels(recipes / "activlev.txt")
    for recipe in read_recipes(recipes / "mix_2_spk_tt.txt", 2):
        mixture, one, two = (
            soundfile.read(folder / name / recipe.name)[0] for name in ("mix", "s1", "s2")
        )
        np.testing.assert_allclose(mixture, one + two, atol=1.5 * 2**-15)
        assert max(np.abs(mixture).max(), np.abs(one).max(), np.abs(two).max()) <= 0.9 + 2**-15
        gains = []
        for source, path, snr in zip((one, two), recipe.sources, recipe.snrs, strict=True):
            utterance, _ = soundfile.read(TEST_DATA / "data/speech/corpus" / path)
            utterance = utterance[: len(source)]
            gain = (source @ utterance) / (utterance @ utterance)
            gains.append(gain * levels[path.stem] ** 0.5 / 10 ** (float(snr) / 20))
        assert gains[0] == pytest.approx(gains[1], rel=1e-3)
