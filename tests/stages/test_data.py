"""The embedded data sets and their lists, on the real audio."""

import shutil
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages import csv_music, csv_speech, fetch_music, fetch_speech, mix_speech, params
from stages.errors import InputError
from stages.wsj0mix import SPLITS, read_levels, read_recipes, split_folder
from tests.conftest import ROOT, TEST_DATA

MUSIC = params.load(ROOT / "params.yaml").music
SPEECH = params.load(ROOT / "params.yaml").speech


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the data that may be spoilt, as the working directory."""
    shutil.copytree(TEST_DATA / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


# --- music --------------------------------------------------------------------------------


def test_musdb_reads_the_tree_we_write():
    import musdb

    database = musdb.DB(str(TEST_DATA / "data" / "music"), is_wav=True)
    assert sorted(track.subset for track in database) == ["test", "train", "train"]
    for track in database:
        assert track.rate == 44100
        assert set(track.sources) == {"vocals", "drums", "bass", "other"}
        assert track.audio.shape == track.sources["drums"].audio.shape
        # The stems are the mixture's: their sum is most of it.
        total = sum(source.audio for source in track.sources.values())
        assert np.corrcoef(total[:, 0], track.audio[:, 0])[0, 1] > 0.9


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
    spans = sorted(span for _, span in MUSIC.excerpt.parts)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_music_lists_have_spleeters_columns(data):
    lists = {split: pd.read_csv(data / "csv" / "music" / f"{split}.csv") for split in SPLITS}
    for frame in lists.values():
        assert ",".join(frame) == ("mix_path,vocals_path,drums_path,bass_path,other_path,duration")
        assert all(Path(path).is_file() for path in frame.iloc[0, :5])
    assert lists["valid"].duration.tolist() == [1.5]


def test_another_excerpt_is_refused(tmp_path):
    excerpt = MUSIC.excerpt.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(InputError, match=r"stem.mp4: found sha256 874a.*, expected 0{64}"):
        fetch_music.fetch(MUSIC.model_copy(update={"excerpt": excerpt}), tmp_path / "music")
    assert not list(tmp_path.iterdir())


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def shorter(path):
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples[:-1], rate, subtype="PCM_16")


def other_rate(path):
    samples, _ = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples, 22050, subtype="PCM_16")


def mono(path):
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples[:, 0], rate, subtype="PCM_16")


def no_audio(path):
    path.write_text("not audio")


def empty(path):
    soundfile.write(path, np.zeros((0, 2)), 44100, subtype="PCM_16")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_short, r"drums.wav: found \d+ bytes, expected \d+ as its header says"),
        (shorter, "drums.wav: found 88199 samples, expected 88200"),
        (other_rate, "drums.wav: found 22050 Hz, expected 44100"),
        (mono, "drums.wav: found 1 channels, expected 2"),
        (no_audio, "drums.wav: found .*, expected a WAV file"),
        (empty, "drums.wav: found no samples, expected audio"),
        (Path.unlink, "drums.wav: found no such file, expected a WAV file"),
    ],
)
def test_a_bad_stem_is_named_and_the_old_lists_stay(data, damage, message):
    (path,) = (data / "music" / "test").glob("*/drums.wav")
    damage(path)
    before = (data / "csv" / "music" / "test.csv").read_text()
    with pytest.raises(InputError, match=message):
        csv_music.write_lists(MUSIC, fetch_music.MUSIC, csv_music.LISTS)
    assert (data / "csv" / "music" / "test.csv").read_text() == before
    assert not list((data / "csv").glob(".*"))


def test_a_missing_validation_track_is_named(data):
    music = MUSIC.model_copy(update={"validation_tracks": ["Nobody - Nothing"]})
    with pytest.raises(InputError, match="Nobody - Nothing: found no such track"):
        csv_music.write_lists(music, fetch_music.MUSIC, csv_music.LISTS)


# --- speech -------------------------------------------------------------------------------


def drawn(**changes):
    speech = SPEECH.model_copy(update=changes)
    prompts = fetch_speech.read_prompts(ROOT / fetch_speech.PROMPTS)
    utterances = {
        name: [PurePosixPath(name, Path(file).name) for file in files]
        for name, files in prompts.items()
    }
    return fetch_speech.draw_recipes(speech, utterances)


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


def test_the_lists_hold_every_mixture_with_its_sources(data):
    for split in SPLITS:
        frame = pd.read_csv(data / "csv" / "speech" / f"{split}.csv")
        assert list(frame) == ["mix_path", "s1_path", "s2_path", "length", "sample_rate"]
        for row in frame.itertuples():
            for path in (row.mix_path, row.s1_path, row.s2_path):
                info = soundfile.info(path)
                assert (info.frames, info.samplerate) == (row.length, row.sample_rate)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_short, r"wav: found \d+ bytes, expected \d+ as its header says"),
        (shorter, r"wav: found \d+ samples, expected \d+"),
        (other_rate, "wav: found 22050 Hz, expected 8000"),
    ],
)
def test_a_bad_source_is_named(data, damage, message):
    path = sorted((data / "speech/mixtures/wav8k/min/tt/s2").iterdir())[0]
    damage(path)
    with pytest.raises(InputError, match=message) as caught:
        csv_speech.write_lists(SPEECH, mix_speech.MIXTURES, csv_speech.LISTS)
    assert "/s2/" in str(caught.value)


def test_a_prompt_that_is_another_is_refused(tmp_path, monkeypatch):
    """An installed package of another release."""
    name = "en_US_f_Allison"
    prompts = {name: {"agent-user.wav": "0" * 64}}
    monkeypatch.setattr(fetch_speech, "INSTALLED", tmp_path / "sounds")
    source = tmp_path / "sounds" / name / "agent-user.wav"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"another recording")
    speech = SPEECH.model_copy(update={"voices": {name: SPEECH.voices[name]}})
    with pytest.raises(
        InputError, match=r"en-wav: agent-user.wav: found sha256 .*, expected 0{64}"
    ):
        fetch_speech.fetch(speech, prompts, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_without_apt_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_speech, "INSTALLED", tmp_path / "sounds")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"wav: found no apt-get on this machine, expected the pack"
    ):
        fetch_speech.fetch(
            SPEECH, fetch_speech.read_prompts(ROOT / fetch_speech.PROMPTS), tmp_path / "c"
        )


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt on this machine")
def test_a_package_is_had_without_the_systems_lists(tmp_path, monkeypatch):
    """A new machine, before anybody ran `apt-get update`."""
    (tmp_path / "none").mkdir()
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/none";')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    package = SPEECH.voices["it_IT_m_Carlo"].package
    unpacked = fetch_speech._unpack(package, tmp_path)
    assert (unpacked / "usr/share/asterisk/sounds/it_IT_m_Carlo").is_dir()
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"^no-such-package: found .* from apt-get, expected the"):
        fetch_speech._unpack("no-such-package", tmp_path / "other")
