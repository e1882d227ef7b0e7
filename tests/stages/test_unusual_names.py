"""Unusual names of the user's files: they reach the scores, or are refused before any work."""

import os
import shutil
from pathlib import Path

import pytest
import soundfile

from contract import layout
from contract.errors import InputError
from contract.params import Evaluation, load
from metrics.tables import read_results
from stages import (
    bound_music,
    bound_speech,
    csv_music,
    csv_speech,
    evaluate_spleeter,
    evaluate_svoice,
    fetch_music,
    fetch_speech,
)
from stages.datasets import musdb18, recipes
from stages.datasets.corpus import find_utterances
from stages.datasets.mixing import make_mixtures
from stages.datasets.wsj0mix import SPLITS, Recipe, read_levels, read_recipes
from tests.conftest import TEST_DATA
from tests.results import write_training
from tests.stages.workspaces import run_stage, workspace

EVALUATION = Evaluation(window_seconds=1.0, hop_seconds=1.0, pesq=False, stoi=False)
NAMES = [
    'Song, "quoted" & <b>',
    "NA",
    "null",
    "007",
    " at both ends ",
    "Caf\u00e9",
    "Cafe\u0301",  # looks the same
    "song",
    "Song",
]
NOT_UTF8 = os.fsdecode(b"caf\xe9")
BAD = {
    "two\nlines": "its name holds a control character; rename it",
    "two\rlines": "its name holds a control character; rename it",
    NOT_UTF8: "its name is not UTF-8; rename it",
}


# --- music --------------------------------------------------------------------------------


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """Makes a workspace with the user's own songs; those of the test split have the given names.

    The result is the folder of the test split.
    """

    def make(*names):
        root = workspace(tmp_path / "work", "music", "folder", path=str(tmp_path / "own"))
        source = TEST_DATA / "data" / "music"
        shutil.copytree(source / "train", tmp_path / "own" / "train")
        (test_song,) = (source / "test").iterdir()
        for name in names:
            shutil.copytree(test_song, tmp_path / "own" / "test" / name)
        monkeypatch.chdir(root)
        return tmp_path / "own" / "test"

    return make


def test_songs_of_any_name_reach_the_scores(songs):
    names = sorted([*NAMES, "n" * 250, "ü" * 125])
    songs(*names)
    music = load().music
    fetch_music.fetch(music, layout.MUSIC)
    csv_music.list_songs(music, layout.MUSIC, layout.MUSIC_LISTS)
    results = layout.SPLEETER_RESULTS
    for name in names:
        estimates = results / "estimates" / name
        shutil.copytree(layout.MUSIC / "test" / name, estimates)
        samples, rate = soundfile.read(estimates / "bass.wav")
        soundfile.write(estimates / "bass.wav", samples / 2, rate)
    write_training(Path(), "spleeter")
    bound_music.bound(load().spleeter, EVALUATION)
    evaluate_spleeter.evaluate(EVALUATION)
    scores = read_results(results / "scores.csv", ["track", "target", "nan_frames"])
    assert scores["track"].unique().tolist() == names
    assert sorted(path.name for path in (results / "museval" / "test").iterdir()) == sorted(
        f"{name}.json" for name in names
    )


TOO_LONG = (
    "its name has 251 bytes, and at most 250 are possible, as files named after it end in .json; "
    "shorten it"
)


@pytest.mark.parametrize(("name", "message"), [*BAD.items(), ("n" * 251, TOO_LONG)])
def test_a_song_whose_name_is_impossible_for_its_scores_is_refused(songs, name, message):
    folder = songs("good", name)
    done = run_stage(Path(), "fetch_music")
    assert done.returncode == 1
    where = str(folder / name) if name.isprintable() else repr(str(folder / name))
    assert done.stderr == f"ERROR: {where}: {message}\n"
    assert not layout.MUSIC.exists()
    # csv_music checks the names as well.
    shutil.copytree(folder.parent, layout.MUSIC)
    with pytest.raises(InputError) as caught:
        csv_music.list_songs(load().music, layout.MUSIC, layout.MUSIC_LISTS)
    copy = layout.MUSIC / "test" / name
    where = str(copy) if name.isprintable() else repr(str(copy))
    assert str(caught.value) == f"{where}: {message}"
    assert not layout.MUSIC_LISTS.exists()


@pytest.mark.parametrize(("name", "message"), BAD.items())
def test_an_excerpt_with_a_bad_name_is_refused(tmp_path, monkeypatch, name, message):
    root = workspace(tmp_path / "work", "music", "musdb18_7s", path=str(tmp_path / "own"))
    monkeypatch.chdir(root)
    for split in ("train", "test"):
        (tmp_path / "own" / split).mkdir(parents=True)
        (tmp_path / "own" / split / f"{name}.stem.mp4").touch()
    with pytest.raises(InputError) as caught:
        musdb18.fetch_excerpts(load().music, layout.MUSIC)
    paths = [tmp_path / "own" / split / f"{name}.stem.mp4" for split in ("test", "train")]
    lines = [f"{str(path)!r}: {message}" for path in paths]
    assert str(caught.value).split("\nERROR: ") == lines


# --- speech -------------------------------------------------------------------------------


@pytest.fixture
def mixtures(tmp_path, monkeypatch):
    """Makes a workspace with the user's own mixtures; those of the test split have the given names.

    The result is the folder of the test split.
    """

    def make(*names):
        root = workspace(tmp_path / "work", "speech", "folder", path=str(tmp_path / "own"))
        source = TEST_DATA / "data/speech/mixtures/wav8k/min"
        for split in ("tr", "cv"):
            shutil.copytree(source / split, tmp_path / "own" / split)
        test_mixture = sorted((source / "tt" / "mix").iterdir())[0].name
        for part in ("mix", "s1", "s2"):
            (tmp_path / "own" / "tt" / part).mkdir(parents=True)
            for name in names:
                copy = tmp_path / "own" / "tt" / part / f"{name}.wav"
                shutil.copyfile(source / "tt" / part / test_mixture, copy)
        monkeypatch.chdir(root)
        return tmp_path / "own" / "tt"

    return make


def test_mixtures_of_any_name_reach_the_scores(mixtures):
    names = sorted([*NAMES, "n" * 251])
    mixtures(*names)
    speech = load().speech
    fetch_speech.fetch(speech, layout.CORPUS, layout.RECIPES)
    make_mixtures(speech, layout.CORPUS, layout.RECIPES, layout.MIXTURES)
    csv_speech.list_mixtures(speech, layout.MIXTURES, layout.SPEECH_LISTS)
    results = layout.SVOICE_RESULTS
    for part in ("s1", "s2"):
        shutil.copytree(layout.MIXTURES / "wav8k/min/tt/mix", results / "estimates" / part)
    write_training(Path(), "svoice")
    bound_speech.bound()
    evaluate_svoice.evaluate(EVALUATION)
    scores = read_results(results / "scores.csv", ["mixture", "speaker", "si_snr"])
    assert sorted(scores["mixture"].unique()) == names


@pytest.mark.parametrize(("name", "message"), BAD.items())
def test_a_mixture_whose_name_cannot_be_listed_is_refused(mixtures, name, message):
    folder = mixtures("good", name)
    done = run_stage(Path(), "fetch_speech")
    assert done.returncode == 1
    where = repr(str(folder / "mix" / f"{name}.wav"))
    assert done.stderr == f"ERROR: {where}: {message}\n"
    assert not layout.CORPUS.exists()
    for split in SPLITS.values():
        shutil.copytree(folder.parent / split, layout.MIXTURES / "wav8k/min" / split)
    with pytest.raises(InputError) as caught:
        csv_speech.list_mixtures(load().speech, layout.MIXTURES, layout.SPEECH_LISTS)
    copy = layout.MIXTURES / "wav8k/min/tt/mix" / f"{name}.wav"
    assert str(caught.value) == f"{str(copy)!r}: {message}"


def recipe(*names):
    """A recipe of these two utterances."""
    return Recipe(tuple(map(Path, names)), ("1.25", "-1.25"))


def test_a_mixtures_name_may_be_as_long_as_a_file_name(tmp_path):
    path = tmp_path / "list.txt"
    most = 255 - len("_1.25__-1.25.wav")
    path.write_text(f"{recipe('s/' + 'a' * (most - 1) + '.wav', 's/b.wav')}\n")
    (longest,) = read_recipes(path, speakers=2)
    assert len(longest.name) == 255
    path.write_text(f"x.wav 1 y.wav -1\n{recipe('s/' + 'a' * most + '.wav', 's/b.wav')}\n")
    with pytest.raises(InputError) as caught:
        read_recipes(path, speakers=2)
    joined = f"{'a' * most}_1.25_b_-1.25.wav"
    assert str(caught.value) == (
        f"{path}:2, the mixture {joined}: its name has 256 bytes, and at most 255 are possible; "
        "shorten it"
    )


def test_a_mixture_with_too_long_a_name_is_refused_before_any_is_made(tmp_path):
    shutil.copytree(TEST_DATA / "data/speech/corpus", tmp_path / "data/speech/corpus")
    shutil.copytree(TEST_DATA / "data/speech/recipes", tmp_path / "data/speech/recipes")
    shutil.copytree(TEST_DATA / "conf", tmp_path / "conf")
    shutil.copyfile(TEST_DATA / "configuration.yaml", tmp_path / "configuration.yaml")
    path = tmp_path / "data/speech/recipes/mix_2_spk_tt.txt"
    path.write_text(path.read_text() + f"x/{'a' * 150}.wav 1 x/{'b' * 150}.wav -1\n")
    done = run_stage(tmp_path, "mix_speech")
    assert done.returncode == 1
    name = f"{'a' * 150}_1_{'b' * 150}_-1.wav"
    assert done.stderr == (
        f"ERROR: data/speech/recipes/mix_2_spk_tt.txt:3, the mixture {name}: "
        "its name has 310 bytes, and at most 255 are possible; shorten it\n"
    )
    assert not list(tmp_path.rglob("mixtures/**/*.wav"))


def test_an_utterance_with_two_levels_is_refused(tmp_path):
    path = tmp_path / "activlev.txt"
    path.write_text("a 1e-3\nb 2e-3\na 0.001\n")
    assert read_levels(path) == {"a": 1e-3, "b": 2e-3}
    path.write_text("a 1e-3\nb 2e-3\na 3e-3\n")
    with pytest.raises(InputError) as caught:
        read_levels(path)
    assert str(caught.value) == (
        f"{path}:3: gives 'a' a second level; every utterance needs a name of its own"
    )


def test_a_list_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"caf\xe9.wav 1 b.wav -1\n")
    with pytest.raises(InputError) as caught:
        read_recipes(path, speakers=2)
    assert str(caught.value) == f"{path}: is not UTF-8 text; save it as UTF-8"


def test_an_utterance_whose_name_cannot_be_listed_is_refused(tmp_path):
    drawn = {"train": [recipe("s/one two.wav", "s/b.wav")]}
    with pytest.raises(InputError) as caught:
        recipes.write_recipes(drawn, 2, tmp_path)
    assert str(caught.value) == (
        "'s/one two.wav': has white space in its name, at which recipe lists are split; rename it"
    )
    assert not list(tmp_path.iterdir())
    name = f"{NOT_UTF8}.wav"
    (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        find_utterances(tmp_path, [Path(name)])
    assert str(caught.value) == f"{str(tmp_path / name)!r}: {BAD[NOT_UTF8]}"


# --- paths --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("b" * 300, "a name in this path has 300 bytes, and at most 255 are possible"),
        ("abcd/" * 900, "this path has {size} bytes, and at most 4095 are possible"),
    ],
    ids=["name", "path"],
)
def test_a_path_that_is_too_long_is_refused_in_one_line(tmp_path, path, problem):
    root = workspace(tmp_path, "music", "folder", path=path)
    done = run_stage(root, "fetch_music")
    assert done.returncode == 1
    where = str(root / path)
    assert done.stderr == f"ERROR: {where}: {problem.format(size=len(where))}; shorten it\n"
