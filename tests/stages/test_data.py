"""The embedded data sets, on the real audio."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from metrics.errors import InputError
from stages import fetch_music, params, prompts
from stages.wsj0mix import read_levels, read_recipes, split_folder
from tests.conftest import ROOT, TEST_DATA

MUSIC = params.load(ROOT / "params.yaml").music
SPEECH = params.load(ROOT / "params.yaml").speech


# --- music --------------------------------------------------------------------------------


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
    spans = sorted(span for _, span in MUSIC.source.parts)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_another_excerpt_is_refused(tmp_path):
    excerpt = MUSIC.source.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(InputError, match=r"stem.mp4: found sha256 874a.*, expected 0{64}"):
        fetch_music.fetch(MUSIC.model_copy(update={"source": excerpt}), tmp_path / "music")
    assert not list(tmp_path.iterdir())


# --- speech -------------------------------------------------------------------------------


def drawn(**changes):
    return prompts.draw(SPEECH.model_copy(update=changes), TEST_DATA / "data/speech/corpus")


def test_the_same_seed_draws_the_same_recipes():
    assert drawn() == drawn()
    assert drawn() != drawn(seed=1)


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_recipes_mix_different_people_and_share_no_utterance_between_splits(speakers):
    recipes = drawn(speakers=speakers)
    assert {split: len(some) for split, some in recipes.items()} == dict(SPEECH.mixtures)
    used = {}
    for split, some in recipes.items():
        assert len({recipe.name for recipe in some}) == len(some)
        for recipe in some:
            people = {SPEECH.voices[path.parent.name].speaker for path in recipe.sources}
            assert len(people) == speakers
            assert sum(float(snr) for snr in recipe.snrs) == pytest.approx(0)
            used.setdefault(split, set()).update(recipe.sources)
    assert not used["train"] & used["valid"]
    assert not used["train"] & used["test"]
    assert not used["valid"] & used["test"]


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


def test_a_prompt_that_is_another_is_refused(tmp_path, monkeypatch):
    """An installed package of another release."""
    name = "en_US_f_Allison"
    (tmp_path / "prompts.sha256").write_text(f"{'0' * 64}  {name}/agent-user.wav\n")
    monkeypatch.setattr(prompts, "PROMPTS", tmp_path / "prompts.sha256")
    monkeypatch.setattr(prompts, "INSTALLED", tmp_path / "sounds")
    source = tmp_path / "sounds" / name / "agent-user.wav"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"another recording")
    speech = SPEECH.model_copy(update={"voices": {name: SPEECH.voices[name]}})
    with pytest.raises(
        InputError, match=r"en-wav: agent-user.wav: found sha256 .*, expected 0{64}"
    ):
        prompts.fetch(speech, tmp_path / "corpus", tmp_path / "recipes")
    assert not (tmp_path / "corpus").exists()
    assert not (tmp_path / "recipes").exists()


def test_without_apt_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(prompts, "PROMPTS", ROOT / prompts.PROMPTS)
    monkeypatch.setattr(prompts, "INSTALLED", tmp_path / "sounds")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"wav: found no apt-get on this machine, expected the pack"
    ):
        prompts.fetch(SPEECH, tmp_path / "corpus", tmp_path / "recipes")


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt on this machine")
def test_a_package_is_had_without_the_systems_lists(tmp_path, monkeypatch):
    """A new machine, before anybody ran `apt-get update`."""
    (tmp_path / "none").mkdir()
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/none";')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    package = SPEECH.voices["it_IT_m_Carlo"].package
    unpacked = prompts._unpack(package, tmp_path)
    assert (unpacked / "usr/share/asterisk/sounds/it_IT_m_Carlo").is_dir()
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"^no-such-package: found .* from apt-get, expected the"):
        prompts._unpack("no-such-package", tmp_path / "other")
