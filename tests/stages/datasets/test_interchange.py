"""Other toolkits read the folders that our stages write.

musdb and museval read the songs. The data preparation of Asteroid and of SpeechBrain, repeated here
in a few lines each, reads the mixtures.
"""

import csv
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from contract import layout, params
from contract.sources import STEMS
from stages import csv_music, csv_speech, fetch_music
from stages.datasets.mixing import make_mixtures
from stages.datasets.wsj0mix import SPLITS
from tests.conftest import ROOT, TEST_DATA
from tests.yaml_files import read_yaml

TRACKS = ("Another Band - A Song", "Young Band - Zero", "Last Band - Tested")


def music(name, **changes):
    """The configuration of a choice of music, with changes."""
    values = read_yaml(ROOT / "configuration.yaml")
    choice = read_yaml(ROOT / "conf" / "music" / f"{name}.yaml")
    return params.check({**values, "music": {**choice, **changes}}).music


# --- music --------------------------------------------------------------------------------


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """The folder of songs that our stages make, in the working directory of the lists.

    There are the standard validation tracks, two songs to train on, and one to test on.
    """
    monkeypatch.chdir(tmp_path)
    parts = {path.name[-6:-1]: path for path in (TEST_DATA / "data/music").glob("*/*")}
    sources = {f"train/{name}": parts["train"] for name in TRACKS[:2]}
    sources |= {f"train/{name}": parts["valid"] for name in music("musdb18hq").validation_tracks}
    sources[f"test/{TRACKS[2]}"] = parts["(test"]
    for song, source in sources.items():
        (tmp_path / "own" / song).mkdir(parents=True)
        for path in source.iterdir():
            os.symlink(path, tmp_path / "own" / song / path.name)
    fetch_music.fetch(music("folder", path=str(tmp_path / "own")), layout.MUSIC)
    csv_music.list_songs(music("musdb18hq"), layout.MUSIC, layout.MUSIC_LISTS)
    return layout.MUSIC


def listed(split):
    """The names of the songs in our list of a split."""
    frame = pd.read_csv(layout.MUSIC_LISTS / f"{split}.csv")
    return {Path(path).parent.name for path in frame.mix_path}


def test_musdb_reads_the_songs_and_splits_them_like_our_lists(songs):
    import musdb

    def names(**selection):
        return {track.name for track in musdb.DB(str(songs), is_wav=True, **selection)}

    assert names(subsets="train", split="train") == listed("train") == set(TRACKS[:2])
    assert names(subsets="train", split="valid") == listed("valid")
    assert len(listed("valid")) == 14
    assert names(subsets="test") == listed("test") == {TRACKS[2]}
    for track in musdb.DB(str(songs), is_wav=True, subsets="test"):
        assert track.rate == 44100
        assert list(track.sources) == list(STEMS)
        folder = songs / "test" / track.name
        for name, audio in [("mixture", track), *track.sources.items()]:
            samples, _ = soundfile.read(folder / f"{name}.wav")
            np.testing.assert_allclose(audio.audio, samples, atol=2**-15)


def test_musdb_reads_the_embedded_song():
    import musdb

    database = musdb.DB(str(TEST_DATA / "data" / "music"), is_wav=True)
    assert sorted(track.subset for track in database) == ["test", "train", "train"]
    for track in database:
        assert track.rate == 44100
        assert set(track.sources) == set(STEMS)
        assert track.audio.shape == track.sources["drums"].audio.shape


def test_museval_scores_estimates_of_the_songs(songs):
    """Stems with noise 10 dB below them have an SDR of about 10 dB."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # museval's own code causes some
        import musdb
        import museval

    (track,) = musdb.DB(str(songs), is_wav=True, subsets="test")
    noise = np.random.default_rng(0).normal(size=track.audio.shape)
    estimates = {}
    for name, source in track.sources.items():
        level = np.sqrt(np.mean(source.audio**2)) * 10 ** (-10 / 20)
        estimates[name] = source.audio + level * noise
    scores = museval.eval_mus_track(track, estimates).df
    assert set(scores.target) == set(STEMS)
    sdr = scores[scores.metric == "SDR"]
    assert len(sdr) == 4 * 2  # two seconds
    assert (sdr.groupby("target").score.median() - 10).abs().max() < 2


# --- speech -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory):
    """The folder wav8k/min of mixtures that our stages have made, checked and listed."""
    root = tmp_path_factory.mktemp("workspace")
    speech = params.load(ROOT / "configuration.yaml").speech
    corpus, recipes = TEST_DATA / "data/speech/corpus", TEST_DATA / "data/speech/recipes"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_mixtures(speech, corpus, recipes, root / "mixtures")
        csv_speech.list_mixtures(speech, root / "mixtures", root / "lists")
    return root / "mixtures" / "wav8k" / "min"


def listed_lengths(mixtures, split):
    """The length in samples of every mixture in our list, by file name."""
    name = next(name for name, folder in SPLITS.items() if folder == split)
    frame = pd.read_csv(mixtures.parents[2] / "lists" / f"{name}.csv")
    lengths = zip(frame.mix_path, frame.length, strict=True)
    return {Path(path).name: length for path, length in lengths}


def test_folders_and_files_are_like_wsj0_mix(mixtures):
    assert sorted(os.listdir(mixtures)) == ["cv", "tr", "tt"]
    for split in ("tr", "cv", "tt"):
        assert sorted(os.listdir(mixtures / split)) == ["mix", "s1", "s2"]
        names = [sorted(os.listdir(mixtures / split / part)) for part in ("mix", "s1", "s2")]
        assert names[0] == names[1] == names[2] == sorted(listed_lengths(mixtures, split))
    for path in mixtures.glob("*/*/*"):
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == (
            *("WAV", "PCM_16", 8000, 1),
        )


@pytest.mark.parametrize("split", ["tr", "cv", "tt"])
def test_asteroid_finds_all_mixtures(mixtures, tmp_path, split):
    """Asteroid lists each folder as JSON of [path, samples], and matches by position."""
    for part in ("mix", "s1", "s2"):
        files = sorted(name for name in os.listdir(mixtures / split / part) if name[-4:] == ".wav")
        paths = [os.path.join(mixtures, split, part, name) for name in files]
        entries = [[path, len(soundfile.SoundFile(path))] for path in paths]
        (tmp_path / f"{part}.json").write_text(json.dumps(entries))
    lists = [json.loads((tmp_path / f"{part}.json").read_text()) for part in ("mix", "s1", "s2")]
    assert {Path(path).name: samples for path, samples in lists[0]} == listed_lengths(
        mixtures, split
    )
    for entries in zip(*lists, strict=True):
        assert len({os.path.basename(path) for path, _ in entries}) == 1
        assert len({samples for _, samples in entries}) == 1
        mixture, one, two = (soundfile.read(path, dtype="float32")[0] for path, _ in entries)
        np.testing.assert_allclose(mixture, one + two, atol=1.5 * 2**-15)


@pytest.mark.parametrize("split", ["tr", "cv", "tt"])
def test_speechbrain_finds_all_mixtures(mixtures, tmp_path, split):
    """SpeechBrain lists the mixtures, expects the same names beside them, and writes a CSV file."""
    columns = ["ID", "duration"]
    for part in ("mix", "s1", "s2"):
        columns += [f"{part}_wav", f"{part}_wav_format", f"{part}_wav_opts"]
    with (tmp_path / "wsj.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for number, name in enumerate(os.listdir(mixtures / split / "mix")):
            row = {"ID": number, "duration": 1.0}
            for part in ("mix", "s1", "s2"):
                row[f"{part}_wav"] = f"{mixtures}/{split}/{part}/{name}"
                row[f"{part}_wav_format"] = "wav"
            table.writerow(row)
    with (tmp_path / "wsj.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lengths = {}
    for row in rows:
        mixture, one, two = (soundfile.read(row[f"{part}_wav"])[0] for part in ("mix", "s1", "s2"))
        assert mixture.ndim == 1  # SpeechBrain takes it as (samples,)
        np.testing.assert_allclose(mixture, one + two, atol=1.5 * 2**-15)
        lengths[Path(row["mix_wav"]).name] = len(mixture)
    assert lengths == listed_lengths(mixtures, split)
