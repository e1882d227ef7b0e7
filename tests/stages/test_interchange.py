"""Other toolkits read the folders that our stages write: musdb and museval the songs; the data
preparation of Asteroid and of SpeechBrain, told here in a few lines each, the mixtures."""

import csv
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages import csv_music, csv_speech, fetch_music, layout, mix_speech, params
from stages.wsj0mix import SPLITS
from tests.conftest import ROOT, TEST_DATA
from tests.yaml_files import read_yaml

STEMS = ("vocals", "drums", "bass", "other")
TRACKS = ("Another Band - A Song", "Young Band - Zero", "Last Band - Tested")


def music(name, **changes):
    values = read_yaml(ROOT / "params.yaml")
    choice = read_yaml(ROOT / "conf" / "music" / f"{name}.yaml")
    return params.check({**values, "music": {**choice, **changes}}).music


# --- music --------------------------------------------------------------------------------


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """A tree as our stages leave it: the standard validation tracks, two to train on, one to test
    on. Returns its root, in the working directory of the lists."""
    monkeypatch.chdir(tmp_path)
    parts = {path.name[-6:-1]: path for path in (TEST_DATA / "data/music").glob("*/*")}
    given = {f"train/{name}": parts["train"] for name in TRACKS[:2]}
    given |= {f"train/{name}": parts["valid"] for name in music("musdb18hq").validation_tracks}
    given[f"test/{TRACKS[2]}"] = parts["(test"]
    for song, source in given.items():
        (tmp_path / "given" / song).mkdir(parents=True)
        for path in source.iterdir():
            os.symlink(path, tmp_path / "given" / song / path.name)
    fetch_music.fetch(music("folder", path=str(tmp_path / "given")), layout.MUSIC)
    csv_music.write_lists(music("musdb18hq"), layout.MUSIC, layout.MUSIC_LISTS)
    return layout.MUSIC


def listed(split):
    frame = pd.read_csv(layout.MUSIC_LISTS / f"{split}.csv")
    return {Path(path).parent.name for path in frame.mix_path}


def test_musdb_reads_the_songs_and_splits_them_as_we_do(songs):
    import musdb

    def names(**chosen):
        return {track.name for track in musdb.DB(str(songs), is_wav=True, **chosen)}

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
        warnings.simplefilter("ignore")  # of its own making
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
    """The folder wav8k/min of mixtures that our stage made, checked by our stage."""
    root = tmp_path_factory.mktemp("workspace")
    speech = params.load(ROOT / "params.yaml").speech
    given = (TEST_DATA / "data/speech/corpus", TEST_DATA / "data/speech/recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        mix_speech.make(speech, *given, root / "mixtures")
        csv_speech.write_lists(speech, root / "mixtures", root / "lists")
    return root / "mixtures" / "wav8k" / "min"


def ours(mixtures, split):
    """What our own list has: file name → length."""
    name = next(name for name, folder in SPLITS.items() if folder == split)
    frame = pd.read_csv(mixtures.parents[2] / "lists" / f"{name}.csv")
    lengths = zip(frame.mix_path, frame.length, strict=True)
    return {Path(path).name: length for path, length in lengths}


def test_the_folders_are_those_of_wsj0_mix(mixtures):
    assert sorted(os.listdir(mixtures)) == ["cv", "tr", "tt"]
    for split in ("tr", "cv", "tt"):
        assert sorted(os.listdir(mixtures / split)) == ["mix", "s1", "s2"]
        names = [sorted(os.listdir(mixtures / split / part)) for part in ("mix", "s1", "s2")]
        assert names[0] == names[1] == names[2] == sorted(ours(mixtures, split))
    for path in mixtures.glob("*/*/*"):
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == (
            *("WAV", "PCM_16", 8000, 1),
        )


@pytest.mark.parametrize("split", ["tr", "cv", "tt"])
def test_asteroid_finds_all_mixtures(mixtures, tmp_path, split):
    """It lists each folder by itself, as JSON of [path, samples], and goes by position."""
    for part in ("mix", "s1", "s2"):
        files = sorted(name for name in os.listdir(mixtures / split / part) if name[-4:] == ".wav")
        paths = [os.path.join(mixtures, split, part, name) for name in files]
        entries = [[path, len(soundfile.SoundFile(path))] for path in paths]
        (tmp_path / f"{part}.json").write_text(json.dumps(entries))
    lists = [json.loads((tmp_path / f"{part}.json").read_text()) for part in ("mix", "s1", "s2")]
    assert {Path(path).name: samples for path, samples in lists[0]} == ours(mixtures, split)
    for entries in zip(*lists, strict=True):
        assert len({os.path.basename(path) for path, _ in entries}) == 1
        assert len({samples for _, samples in entries}) == 1
        mixture, one, two = (soundfile.read(path, dtype="float32")[0] for path, _ in entries)
        np.testing.assert_allclose(mixture, one + two, atol=1.5 * 2**-15)


@pytest.mark.parametrize("split", ["tr", "cv", "tt"])
def test_speechbrain_finds_all_mixtures(mixtures, tmp_path, split):
    """It lists the folder of mixtures, looks for the same names beside it, and writes a CSV."""
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
    assert lengths == ours(mixtures, split)
