"""The input pipeline: its order, its crops, its cache, its padding."""

import csv
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from spleeter.dataset import DatasetBuilder

from spleeter_mod import settings, tracks
from spleeter_mod.data import DrawDataset, training_dataset, validation_dataset
from spleeter_mod.errors import InputError
from spleeter_mod.session import explained
from spleeter_mod.training import _unspoilt

MIX = "mix_spectrogram"
LIST = Path("songs.csv")


@pytest.fixture
def run(workspace, monkeypatch):
    """Settings of three songs with two chunks each, in batches of four."""
    monkeypatch.chdir(workspace.root)
    rows = []
    for name in ("train", "valid", "test"):
        with (tracks.LISTS / f"{name}.csv").open(newline="") as file:
            rows += csv.DictReader(file)
    with LIST.open("w", newline="") as file:
        writer = csv.DictWriter(file, tracks.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    read = settings.Settings.read(Path("params.yaml"))
    # Short frames, so that there is something to crop.
    return dataclasses.replace(
        read, frame_length=1024, frame_step=256, batch_size=4, chunks_per_song=2, chunk_seconds=0.8
    )


def batches(run, first_step=0, count=5, **changes):
    run = dataclasses.replace(run, **changes)
    dataset = training_dataset(run, LIST, Path("cache/train/segments"), 3, first_step)
    return [
        {name: array.numpy() for name, array in {**features, **labels}.items()}
        for features, labels in itertools.islice(dataset, count)
    ]


def assert_equal(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_order_is_a_function_of_seed_and_step(run):
    first = batches(run)
    assert {array.shape for batch in first for array in batch.values()} == {(4, 64, 256, 2)}
    assert set(first[0]) == {MIX, *(f"{stem}_spectrogram" for stem in settings.STEMS)}
    # From a cache that is there, and from any step on.
    assert_equal(batches(run, first_step=2, count=3), first[2:])
    (other,) = batches(run, count=1, seed=run.seed + 1)
    assert not np.array_equal(other[MIX], first[0][MIX])


def test_a_crop_is_the_same_of_every_instrument(run):
    """With the mixture in place of every stem, all spectrograms are the mixture's."""
    text = LIST.read_text()
    for stem in settings.STEMS:
        text = text.replace(f"/{stem}.wav", "/mixture.wav")
    LIST.write_text(text)
    for batch in batches(run, count=2):
        for stem in settings.STEMS:
            np.testing.assert_array_equal(batch[f"{stem}_spectrogram"], batch[MIX])


def test_a_pass_is_every_segment_once_in_an_order_of_its_own(run, monkeypatch):
    def first_frames(self, sample):
        keys = [f"{instrument}_spectrogram" for instrument in self._instruments]
        return {**sample, **{key: sample[key][: self._T] for key in keys}}

    monkeypatch.setattr(DrawDataset, "random_time_crop", first_frames)
    passes = [batch[MIX].sum(axis=(1, 2, 3)) for batch in batches(run, batch_size=6)]
    assert {tuple(sorted(draws)) for draws in passes} == {tuple(sorted(passes[0]))}
    assert len(set(passes[0])) == 6
    assert len({tuple(draws) for draws in passes}) > 1


def test_an_unfinished_cache_is_made_again(run):
    # As tf.data leaves it when it is killed at the end of its first pass.
    cache = Path("cache/train")
    cache.mkdir(parents=True)
    for name in ("segments_0.index", "segments_0.lockfile"):
        (cache / name).touch()
    prefix = _unspoilt(cache)
    batches(run, count=2)
    assert prefix.with_suffix(".index").exists()
    assert _unspoilt(cache) == prefix
    assert prefix.with_suffix(".index").exists()


def test_validation_takes_the_middle_and_pads_a_short_song(run):
    # 64 frames of 1024 samples with this hop need 65 536 + 3072 samples, the song has 66 150.
    run = dataclasses.replace(run, frame_length=4096, frame_step=1024, chunk_seconds=2.5)
    with LIST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    song, _ = soundfile.read(rows[1]["mix_path"], dtype="float32")
    assert 64 * 1024 <= len(song) < 63 * 1024 + 4096
    dataset = validation_dataset(run, LIST, Path("cache/valid/segments"))
    ((features, _),) = list(dataset)
    found = features[MIX].numpy()
    assert found.shape == (3, 64, 256, 2)
    window = np.hanning(4097)[:-1, None]
    padded = np.concatenate([song, np.zeros((4096, 2), "f4")])
    expected = [np.fft.rfft(padded[k : k + 4096] * window, axis=0)[:256] for k in (0, 63 * 1024)]
    for frame, spectrum in zip((0, 63), expected, strict=True):
        # Spleeter stores its spectrograms in 256 steps over 100 dB.
        level = 20 * np.log10(np.abs(spectrum) / np.abs(spectrum).max() + 1e-9)
        loud = level > -40
        ratio = found[1, frame][loud] / np.abs(spectrum)[loud]
        assert np.abs(20 * np.log10(ratio)).max() < 0.5


def test_a_song_that_vanishes_during_training_is_named(run):
    text = LIST.read_text()
    LIST.write_text(text.replace("(valid)/drums.wav", "(valid)/gone.wav"))
    expected = r"\(valid\)/gone\.wav: found a file that cannot be read"
    with pytest.raises(InputError, match=expected), explained("scratch"):
        batches(run, count=2)


def test_spleeter_keeps_the_margin_that_lists_are_checked_with():
    assert DatasetBuilder.MARGIN == settings.MARGIN_SECONDS


def test_whole_seconds_are_durations_too(run):
    header, *_, song = LIST.read_text().splitlines()
    assert song.endswith(",2.0")
    LIST.write_text(f"{header}\n{song.removesuffix('.0')}\n")
    dataset = training_dataset(run, LIST, Path("cache/one/segments"), 1, 0)
    assert len(list(itertools.islice(dataset, 1))) == 1
