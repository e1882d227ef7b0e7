"""Unusual names from the given folders to the scores: borne to the end, or refused at the door."""

import os
import shutil
from pathlib import Path

import pytest
import soundfile

from metrics.errors import InputError
from metrics.workspace import read_results
from stages import (
    csv_music,
    csv_speech,
    evaluate_spleeter,
    evaluate_svoice,
    fetch_music,
    fetch_speech,
    layout,
    mix_speech,
    musdb18,
    recipes,
)
from stages.corpus import find
from stages.params import Evaluation, load
from stages.wsj0mix import SPLITS, Recipe, read_levels, read_recipes
from tests.conftest import TEST_DATA
from tests.stages.workspaces import run_stage, workspace

EVALUATION = Evaluation(window_seconds=1.0, hop_seconds=1.0, pesq=False, stoi=False)
NAMES = [
    'Song, "quoted" & <b>',
    "NA",
    "null",
    "007",
    " at both ends ",
    "Caf\u00e9",
    "Cafe\u0301",  # the same to the eye
    "song",
    "Song",
]
BAD = {
    "two\nlines": "a control character in the name, expected one line of UTF-8",
    "two\rlines": "a control character in the name, expected one line of UTF-8",
    os.fsdecode(b"caf\xe9"): "a name that is no UTF-8, expected one line of UTF-8",
}


# --- music --------------------------------------------------------------------------------


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """Has songs of one's own with the names that are given to test on."""

    def make(*names):
        root = workspace(tmp_path / "work", "music", "folder", path=str(tmp_path / "given"))
        source = TEST_DATA / "data" / "music"
        shutil.copytree(source / "train", tmp_path / "given" / "train")
        (tested,) = (source / "test").iterdir()
        for name in names:
            shutil.copytree(tested, tmp_path / "given" / "test" / name)
        monkeypatch.chdir(root)
        return tmp_path / "given" / "test"

    return make


def test_songs_of_any_name_are_borne_to_the_scores(songs):
    names = sorted([*NAMES, "n" * 250, "ü" * 125])
    songs(*names)
    music = load().music
    fetch_music.fetch(music, layout.MUSIC)
    csv_music.write_lists(music, layout.MUSIC, layout.MUSIC_LISTS)
    results = evaluate_spleeter.RESULTS
    for name in names:
        estimates = results / "estimates" / name
        shutil.copytree(layout.MUSIC / "test" / name, estimates)
        samples, rate = soundfile.read(estimates / "bass.wav")
        soundfile.write(estimates / "bass.wav", samples / 2, rate)
    evaluate_spleeter.evaluate(EVALUATION)
    scores = read_results(results / "scores.csv", ["track", "target", "nan_frames"])
    assert scores["track"].unique().tolist() == names
    assert sorted(path.name for path in (results / "museval" / "test").iterdir()) == sorted(
        f"{name}.json" for name in names
    )


TOO_LONG = "a name of 251 bytes, expected at most 250, for the files named after it end in .json"


@pytest.mark.parametrize(("name", "message"), [*BAD.items(), ("n" * 251, TOO_LONG)])
def test_a_song_whose_name_its_scores_cannot_bear_is_refused(songs, name, message):
    folder = songs("good", name)
    done = run_stage(Path(), "fetch_music")
    assert done.returncode == 1
    where = str(folder / name) if name.isprintable() else repr(str(folder / name))
    assert done.stderr == f"ERROR: {where}: found {message}\n"
    assert not layout.MUSIC.exists()
    # Songs that were fetched otherwise.
    shutil.copytree(folder.parent, layout.MUSIC)
    with pytest.raises(InputError) as caught:
        csv_music.write_lists(load().music, layout.MUSIC, layout.MUSIC_LISTS)
    assert str(caught.value).endswith(f": found {message}")
    assert not layout.MUSIC_LISTS.exists()


@pytest.mark.parametrize(("name", "message"), BAD.items())
def test_an_excerpt_of_such_a_name_is_refused(tmp_path, monkeypatch, name, message):
    root = workspace(tmp_path / "work", "music", "musdb18_7s")
    monkeypatch.chdir(root)
    for split in ("train", "test"):
        (tmp_path / "given" / split).mkdir(parents=True)
        (tmp_path / "given" / split / f"{name}.stem.mp4").touch()
    with pytest.raises(InputError, match=message):
        musdb18.fetch_excerpts(load().music, tmp_path / "given", layout.MUSIC)


# --- speech -------------------------------------------------------------------------------


@pytest.fixture
def mixtures(tmp_path, monkeypatch):
    """Has mixtures of one's own with the names that are given to test on."""

    def make(*names):
        root = workspace(tmp_path / "work", "speech", "folder", path=str(tmp_path / "given"))
        source = TEST_DATA / "data/speech/mixtures/wav8k/min"
        for split in ("tr", "cv"):
            shutil.copytree(source / split, tmp_path / "given" / split)
        tested = sorted((source / "tt" / "mix").iterdir())[0].name
        for part in ("mix", "s1", "s2"):
            (tmp_path / "given" / "tt" / part).mkdir(parents=True)
            for name in names:
                given = tmp_path / "given" / "tt" / part / f"{name}.wav"
                shutil.copyfile(source / "tt" / part / tested, given)
        monkeypatch.chdir(root)
        return tmp_path / "given" / "tt"

    return make


def test_mixtures_of_any_name_are_borne_to_the_scores(mixtures):
    names = sorted([*NAMES, "n" * 251])
    mixtures(*names)
    speech = load().speech
    fetch_speech.fetch(speech, layout.CORPUS, layout.RECIPES)
    mix_speech.make(speech, layout.CORPUS, layout.RECIPES, layout.MIXTURES)
    csv_speech.write_lists(speech, layout.MIXTURES, layout.SPEECH_LISTS)
    results = evaluate_svoice.RESULTS
    for part in ("s1", "s2"):
        shutil.copytree(layout.MIXTURES / "wav8k/min/tt/mix", results / "estimates" / part)
    evaluate_svoice.evaluate(EVALUATION)
    scores = read_results(results / "scores.csv", ["mixture", "speaker", "si_snr"])
    assert sorted(scores["mixture"].unique()) == names


@pytest.mark.parametrize(("name", "message"), BAD.items())
def test_a_mixture_whose_name_no_list_can_hold_is_refused(mixtures, name, message):
    folder = mixtures("good", name)
    done = run_stage(Path(), "fetch_speech")
    assert done.returncode == 1
    where = repr(str(folder / "mix" / f"{name}.wav"))
    assert done.stderr == f"ERROR: {where}: found {message}\n"
    assert not layout.CORPUS.exists()
    for split in SPLITS.values():
        shutil.copytree(folder.parent / split, layout.MIXTURES / "wav8k/min" / split)
    with pytest.raises(InputError) as caught:
        csv_speech.write_lists(load().speech, layout.MIXTURES, layout.SPEECH_LISTS)
    assert str(caught.value).endswith(f": found {message}")


def recipe(*names):
    return Recipe(tuple(map(Path, names)), ("1.25", "-1.25"))


def test_a_mixture_has_the_longest_name_that_a_file_can_have(tmp_path):
    path = tmp_path / "list.txt"
    most = 255 - len("_1.25__-1.25.wav")
    path.write_text(f"{recipe('s/' + 'a' * (most - 1) + '.wav', 's/b.wav')}\n")
    (read,) = read_recipes(path, speakers=2)
    assert len(read.name) == 255
    path.write_text(f"x.wav 1 y.wav -1\n{recipe('s/' + 'a' * most + '.wav', 's/b.wav')}\n")
    with pytest.raises(InputError) as caught:
        read_recipes(path, speakers=2)
    joined = f"{'a' * most}_1.25_b_-1.25.wav"
    assert str(caught.value) == (
        f"{path}:2, the mixture {joined}: found a name of 256 bytes, expected at most 255"
    )


def test_too_long_a_mixture_is_refused_before_any_is_made(tmp_path):
    shutil.copytree(TEST_DATA / "data/speech/corpus", tmp_path / "data/speech/corpus")
    shutil.copytree(TEST_DATA / "data/speech/recipes", tmp_path / "data/speech/recipes")
    shutil.copytree(TEST_DATA / "conf", tmp_path / "conf")
    shutil.copyfile(TEST_DATA / "params.yaml", tmp_path / "params.yaml")
    path = tmp_path / "data/speech/recipes/mix_2_spk_tt.txt"
    path.write_text(path.read_text() + f"x/{'a' * 150}.wav 1 x/{'b' * 150}.wav -1\n")
    done = run_stage(tmp_path, "mix_speech")
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: data/speech/recipes/mix_2_spk_tt.txt:3, the mixture aaa")
    assert done.stderr.endswith("found a name of 310 bytes, expected at most 255\n")
    assert not list(tmp_path.rglob("mixtures/**/*.wav"))


def test_an_utterance_of_another_level_under_the_same_name_is_refused(tmp_path):
    path = tmp_path / "activlev.txt"
    path.write_text("a 1e-3\nb 2e-3\na 0.001\n")
    assert read_levels(path) == {"a": 1e-3, "b": 2e-3}
    path.write_text("a 1e-3\nb 2e-3\na 3e-3\n")
    with pytest.raises(InputError) as caught:
        read_levels(path)
    assert str(caught.value) == (
        f"{path}:3: found a again with another level, expected a name of its own for every "
        "utterance"
    )


def test_a_list_that_is_no_utf_8_is_one_line(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"caf\xe9.wav 1 b.wav -1\n")
    with pytest.raises(InputError, match=r"list.txt: found bytes that are no UTF-8, expected a"):
        read_recipes(path, speakers=2)


def test_an_utterance_that_no_list_can_hold_is_refused(tmp_path):
    drawn = {"train": [recipe("s/one two.wav", "s/b.wav")]}
    with pytest.raises(InputError) as caught:
        recipes.write_recipes(drawn, 2, tmp_path)
    expected = "found white space in the name, expected none: recipe lists are split there"
    assert str(caught.value) == f"'s/one two.wav': {expected}"
    assert not list(tmp_path.iterdir())
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="found a name that is no UTF-8"):
        find(tmp_path, [Path(name)])


# --- paths --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("b" * 300, "a name of 300 bytes, expected at most 255"),
        ("abcd/" * 900, "bytes, expected fewer than 4096"),
    ],
)
def test_a_path_that_is_too_long_is_one_line(tmp_path, path, found):
    root = workspace(tmp_path, "music", "folder", path=path)
    done = run_stage(root, "fetch_music")
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
    assert found in done.stderr
    assert done.stderr.count("\n") == 1
