"""Recipe lists, the mixing formula, and the active speech level."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile

from contract.errors import InputError
from stages.datasets.wsj0mix import Recipe, active_level, mix, read_levels, read_recipes
from tests.conftest import TEST_DATA

# Lines of the published lists: with all numbers of digits, and with pairs that occur twice.
PUBLISHED = Path(__file__).with_name("wsj0mix")


def test_recipes_are_read_as_written(tmp_path):
    path = tmp_path / "mix_2_spk_tt.txt"
    path.write_text(
        "wsj0/si_et_05/445/445c0206.wav 0.60431 wsj0/si_dt_05/22g/22gc0105.wav -0.60431 \n"
    )
    (recipe,) = read_recipes(path, speakers=2)
    assert recipe.sources[1] == PurePosixPath("wsj0/si_dt_05/22g/22gc0105.wav")
    assert recipe.name == "445c0206_0.60431_22gc0105_-0.60431.wav"
    assert str(recipe) == path.read_text().strip()


def name_of(snrs):
    """The file name of a mixture of the utterances a, b, c, … at these levels."""
    sources = tuple(PurePosixPath(f"x/{letter}.wav") for letter in "abcdefghij"[: len(snrs)])
    return Recipe(sources, snrs).name


@pytest.mark.parametrize("third", [(), ("0",)])
@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("1.914640538743294", "1.9146"),
        ("0.450124", "0.45012"),
        ("0.079969", "0.079969"),
        ("-0.05971234", "-0.059712"),
    ],
)
def test_levels_of_two_and_three_speakers_have_five_digits_in_file_names(written, named, third):
    """As Matlab's num2str writes them."""
    others = "".join(f"_{letter}_0" for letter in "bc"[: 1 + len(third)])
    assert name_of((written, "0", *third)) == f"a_{named}{others}.wav"


@pytest.mark.parametrize(
    ("snrs", "named"),
    [
        (
            ("1.2", "0.3878073588995662", "-0.00005971234567", "-2.40749492"),
            "a_1.2_b_0.38780736_c_-5.9712346e-05_d_-2.4074949",
        ),
        (
            (
                "1.914640538743294",
                "0.05971234567891",
                "-0.05971234567891",
                "-1.914640538743294",
                "0",
            ),
            "a_1.9146405_b_0.059712346_c_-0.059712346_d_-1.9146405_e_0",
        ),
        (
            ("2.25", "0.123456789", "-2.25", "-0.123456789", "0.0", "-0.10000000002"),
            "a_2.25_b_0.12345679_c_-2.25_d_-0.12345679_e_0_f_-0.1",
        ),
    ],
)
def test_levels_of_four_and_more_speakers_have_eight_digits_in_file_names(snrs, named):
    """As pywsj0-mix writes them, which published the lists for four and five speakers."""
    assert name_of(snrs) == f"{named}.wav"


def test_the_file_names_of_ten_speakers_are_short_enough(tmp_path):
    """Even with the longest levels."""
    path = tmp_path / "list.txt"
    path.write_text(
        " ".join(f"wsj0/si_tr_s/01t/01to03{n:02d}.wav -0.0597123456789" for n in range(10))
    )
    (recipe,) = read_recipes(path, speakers=10)
    assert recipe.name.count("-0.059712346") == 10


NO_RECIPE = "is not a recipe; a line holds `path snr` for each of 2 speakers"
OUTSIDE = "has paths outside the corpus; give the paths relative to the corpus"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.wav 1 b.wav -1\na.wav 1\n", f":2: 'a.wav 1' {NO_RECIPE}"),
        ("a.wav one b.wav -1\n", f":1: 'a.wav one b.wav -1' {NO_RECIPE}"),
        ("../a.wav 1 b.wav -1\n", f":1: '../a.wav 1 b.wav -1' {OUTSIDE}"),
        ("/a.wav 1 b.wav -1\n", f":1: '/a.wav 1 b.wav -1' {OUTSIDE}"),
        (
            "a.wav 1 b.wav -1\n" * 2,
            ":2: makes a_1_b_-1.wav a second time; remove one of the lines",
        ),
        ("\n", ": has no lines; a list has one line for each item"),
        (None, ": there is no such list; run `dvc repro -f fetch_speech` to make it"),
    ],
)
def test_a_bad_recipe_list_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "list.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipes(path, speakers=2)
    assert str(caught.value) == f"{path}{message}"


def test_a_level_must_be_above_zero(tmp_path):
    path = tmp_path / "activlev.txt"
    path.write_text("a 1e-3\nb 0\n")
    with pytest.raises(InputError) as caught:
        read_levels(path)
    remedy = "a line holds `name level` with a level above 0"
    assert str(caught.value) == f"{path}:2: 'b 0' is not a level; {remedy}"


@pytest.mark.parametrize("mode", ["min", "max"])
def test_mixing_follows_the_formula(mode):
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=900), generator.normal(size=1000)
    mixture, sources = mix([a, b], levels=[0.5, 2.0], snrs=[1.5, -1.5], mode=mode)
    length = 900 if mode == "min" else 1000
    padded = np.zeros((2, 1000))
    padded[0, :900], padded[1] = a / 0.5**0.5 * 10**0.075, b / 2**0.5 * 10**-0.075
    padded = padded[:, :length]
    peak = max(np.abs(padded).max(), np.abs(padded.sum(0)).max())
    assert peak > 1
    np.testing.assert_allclose(sources, padded * 0.9 / peak)
    np.testing.assert_allclose(mixture, sources.sum(0), atol=1e-12)


def test_a_quiet_mixture_is_not_amplified_to_full_scale():
    quiet = np.full(100, 0.1)
    mixture, _ = mix([quiet, -quiet / 2], levels=[1, 1], snrs=[0, 0], mode="min")
    np.testing.assert_allclose(mixture, 0.05 * 0.9)


class TestActiveLevel:
    RATE = 8000

    def speech(self):
        path = sorted((TEST_DATA / "data/speech/corpus/fr_CA_f_June").glob("*.wav"))[0]
        samples, rate = soundfile.read(path)
        assert rate == self.RATE
        return samples

    def test_a_steady_tone_is_active_throughout(self):
        tone = 0.1 * np.sin(2 * np.pi * 440 / self.RATE * np.arange(5 * self.RATE))
        assert active_level(tone, self.RATE) == pytest.approx(0.005, rel=0.02)

    def test_silence_around_speech_does_not_lower_the_level(self):
        speech = self.speech()
        padded = np.concatenate([np.zeros(5 * self.RATE), speech, np.zeros(5 * self.RATE)])
        change = 10 * np.log10(active_level(padded, self.RATE) / active_level(speech, self.RATE))
        assert abs(change) < 0.5
        assert active_level(speech, self.RATE) >= np.mean(speech**2)

    def test_the_level_scales_with_power(self):
        speech = self.speech()
        ratio = active_level(speech / 4, self.RATE) / active_level(speech, self.RATE)
        assert 10 * np.log10(ratio) == pytest.approx(-12.04, abs=0.2)

    def test_silence_has_level_zero(self):
        assert active_level(np.zeros(100), self.RATE) == 0


@pytest.mark.parametrize(("split", "count"), [("tr", 23), ("cv", 13), ("tt", 17)])
def test_published_lines_make_the_original_file_names(split, count):
    path = PUBLISHED / f"mix_2_spk_{split}.txt"
    recipes = read_recipes(path, speakers=2)
    assert "".join(f"{recipe} \n" for recipe in recipes) == path.read_text()
    assert len({recipe.name for recipe in recipes}) == count
    for recipe in recipes:
        pairs = zip(recipe.sources, recipe.snrs, strict=True)
        assert recipe.name == "_".join(f"{path.stem}_{snr}" for path, snr in pairs) + ".wav"


def test_every_published_line_has_its_levels():
    levels = {}
    for path in (PUBLISHED / "activlev").iterdir():
        part = read_levels(path)
        assert "".join(f"{name} {level:.16e}\n" for name, level in part.items()) == path.read_text()
        levels |= part
    recipes = [
        recipe for path in PUBLISHED.glob("*.txt") for recipe in read_recipes(path, speakers=2)
    ]
    assert {name.stem for recipe in recipes for name in recipe.sources} == set(levels)
