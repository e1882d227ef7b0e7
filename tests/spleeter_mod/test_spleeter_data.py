"""The input pipeline: its order, its crops, its cache, its padding."""

import csv
import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from spleeter.audio.spectrogram import compute_spectrogram_tf
from spleeter.dataset import DatasetBuilder

from spleeter_mod import cache, settings, tracks
from spleeter_mod.data import (
    DrawDataset,
    Share,
    magnitudes,
    stored_segments,
    training_dataset,
    validation_dataset,
)
from spleeter_mod.errors import InputError

MIX = "mix_spectrogram"
LIST = Path("songs.csv")
CACHE = Path("cache")


@pytest.fixture
def run(workspace, monkeypatch):
    """Settings of three songs with two chunks each, in batches of four."""
    monkeypatch.chdir(workspace.root)
    rows = []
    for name in ("train", "valid", "test"):
        with (tracks.LISTS / f"{name}.csv").open(newline="") as file:
            rows += csv.DictReader(file)
    with LIST.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    read = settings.Settings.read(Path("params.yaml"))
    # Short frames, so that there is something to crop.
    return dataclasses.replace(
        read, frame_length=1024, frame_step=256, batch_size=4, chunks_per_song=2, chunk_seconds=0.8
    )


def songs(run):
    return tracks.read(LIST, run.sample_rate)


def batches(run, first_step=0, count=5, share=None, **changes):
    run = dataclasses.replace(run, **changes)
    prefix = cache.segments(run, songs(run), run.chunks_per_song, CACHE)
    share = share or Share(run.batch_size)
    dataset = training_dataset(run, songs(run), prefix, first_step, share)
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


def test_workers_share_every_batch(run):
    whole = batches(run, count=3)
    parts = [
        batches(run, count=3, share=Share(batch_size=2, worker=worker, workers=2))
        for worker in (0, 1)
    ]
    together = [
        {name: np.concatenate([first[name], second[name]]) for name in first}
        for first, second in zip(*parts, strict=True)
    ]
    assert_equal(together, whole)


def test_devices_of_a_worker_take_its_part_in_turns(run):
    share = Share(batch_size=1, devices=2, worker=1, workers=2)
    found = batches(run, count=4, share=share)
    whole = batches(run, count=2)
    expected = [
        {name: array[k : k + 1] for name, array in batch.items()} for batch in whole for k in (2, 3)
    ]
    assert_equal(found, expected)


def stored(run, chunks=2):
    """What is in the cache of the songs."""
    prefix = cache.segments(run, songs(run), chunks, CACHE)
    dataset = stored_segments(run, songs(run), chunks, prefix)
    return prefix, [{name: value.numpy() for name, value in sample.items()} for sample in dataset]


def test_a_cache_is_filled_once_and_kept(run):
    prefix, samples = stored(run)
    assert len(samples) == 6
    files = {path: path.stat().st_mtime_ns for path in prefix.parent.iterdir()}
    again, _ = stored(run)
    assert again == prefix
    assert {path: path.stat().st_mtime_ns for path in prefix.parent.iterdir()} == files
    assert sorted(path.suffix for path in CACHE.iterdir()) == ["", ".lock"]


def test_another_stft_or_list_is_another_cache(run):
    first = stored(run)[0]
    others = [
        stored(dataclasses.replace(run, frame_step=128))[0],
        stored(dataclasses.replace(run, F=128))[0],
        stored(dataclasses.replace(run, chunk_seconds=0.7))[0],
        stored(run, chunks=1)[0],
    ]
    LIST.write_text("\n".join(LIST.read_text().splitlines()[:-1]) + "\n")
    others.append(stored(run)[0])
    assert len({first, *others}) == 6
    # What is drawn from the segments later is not in the key.
    assert cache.key(run, songs(run), 2) == cache.key(
        dataclasses.replace(run, seed=9, batch_size=1), songs(run), 2
    )


def test_changed_audio_under_the_same_name_is_another_cache(run):
    with LIST.open(newline="") as file:
        mixture = Path(next(csv.DictReader(file))["mix_path"])
    copy = Path("copy.wav")
    copy.write_bytes(mixture.read_bytes())
    LIST.write_text(LIST.read_text().replace(str(mixture), str(copy)))
    first, samples = stored(run)
    times = copy.stat()
    louder = bytearray(copy.read_bytes())
    louder[-200_000:-100_000] = bytes(100_000)
    copy.write_bytes(louder)
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    second, changed = stored(run)
    assert first != second
    assert any(
        not np.array_equal(one[MIX], other[MIX])
        for one, other in zip(samples, changed, strict=True)
    )


def test_the_same_audio_elsewhere_is_the_same_cache(run):
    first = cache.key(run, songs(run), 2)
    Path("elsewhere").symlink_to("data/music")
    LIST.write_text(LIST.read_text().replace("data/music", "elsewhere"))
    assert cache.key(run, songs(run), 2) == first
    away = tracks.SongList(LIST, Path.cwd(), songs(run).tracks)
    assert cache.key(run, away, 2) == first


def test_an_unfinished_cache_is_made_again(run):
    place = CACHE / f"{cache.key(run, songs(run), 2)}.tmp"
    place.mkdir(parents=True)
    for name in ("segments_0.index", "segments_0.lockfile"):  # as a killed process leaves them
        (place / name).touch()
    assert len(stored(run)[1]) == 6
    assert not place.exists()


def test_an_unreadable_song_leaves_no_cache(run, monkeypatch):
    listed = songs(run)
    monkeypatch.setattr(
        "soundfile.SoundFile.read", lambda *_, **__: (_ for _ in ()).throw(OSError("gone"))
    )
    with pytest.raises(InputError, match=r"mixture\.wav: found a file that cannot be read"):
        cache.segments(run, listed, 2, CACHE)
    assert [path.suffix for path in CACHE.iterdir()] == [".lock"]


def test_validation_takes_the_middle_and_pads_a_short_song(run):
    # 64 frames of 1024 samples with this hop need 65 536 + 3072 samples, the song has 66 150.
    run = dataclasses.replace(run, frame_length=4096, frame_step=1024, chunk_seconds=2.5)
    with LIST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    song, _ = soundfile.read(rows[1]["mix_path"], dtype="float32")
    assert 64 * 1024 <= len(song) < 63 * 1024 + 4096
    dataset = validation_dataset(run, songs(run), cache.segments(run, songs(run), 1, CACHE))
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


def test_the_spectrograms_are_spleeters(run):
    waveform, _ = soundfile.read(songs(run).tracks[0].mixture, dtype="float32")
    expected = compute_spectrogram_tf(
        tf.constant(waveform),
        frame_length=4096,
        frame_step=1024,
        spec_exponent=1.0,
        window_exponent=1.0,
    ).numpy()
    found = magnitudes(waveform, 4096, 1024, bins=1024, at_least=len(expected))
    assert found.shape == (*expected.shape[:1], 1024, 2)
    np.testing.assert_allclose(found, expected[:, :1024], atol=1e-4 * expected.max())
    longer = magnitudes(waveform, 4096, 1024, bins=1024, at_least=len(expected) + 9)
    np.testing.assert_array_equal(longer[: len(found)], found)
    assert not longer[-4:].any()  # silence


def test_spleeter_keeps_the_margin_that_lists_are_checked_with():
    assert DatasetBuilder.MARGIN == settings.MARGIN_SECONDS


def test_whole_seconds_are_durations_too(run):
    header, *_, song = LIST.read_text().splitlines()
    assert song.endswith(",2.0")
    LIST.write_text(f"{header}\n{song.removesuffix('.0')}\n")
    run = dataclasses.replace(run, batch_size=1)
    assert len(batches(run, count=1)) == 1


def test_paths_of_a_list_are_relative_to_its_root(run):
    root = Path("data").absolute()
    first = batches(run, count=1)
    relative = LIST.read_text().replace("data/music", "music")
    # An absolute one stays what it is.
    head, _, tail = relative.partition("music/train")
    LIST.write_text(f"{head}{root}/music/train{tail}")
    listed = tracks.read(LIST, run.sample_rate, root=root)
    dataset = training_dataset(
        run, listed, cache.segments(run, listed, 2, Path("other")), 0, Share(run.batch_size)
    )
    ((features, _),) = itertools.islice(dataset, 1)
    np.testing.assert_array_equal(features[MIX].numpy(), first[0][MIX])
