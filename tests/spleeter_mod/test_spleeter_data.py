"""The input pipeline: the order of the batches, the crops, the cache, the padding."""

import csv
import dataclasses
import itertools
import os
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from spleeter.dataset import DatasetBuilder, get_training_dataset, get_validation_dataset

from contract.errors import InputError
from contract.layout import MUSIC_LISTS
from spleeter_mod import cache, settings, tracks
from spleeter_mod.adapter import SoundfileAudioAdapter
from spleeter_mod.data import Share, draws, training_dataset, validation_dataset
from tests.conftest import in_ci

MIX = "mix_spectrogram"
LIST = Path("songs.csv")
CACHE = Path("cache")


@pytest.fixture
def run(workspace, monkeypatch):
    """Settings of three songs with two chunks each, in batches of four."""
    monkeypatch.chdir(workspace.root)
    rows = []
    for name in ("train", "valid", "test"):
        with (MUSIC_LISTS / f"{name}.csv").open(newline="") as file:
            rows += csv.DictReader(file)
    with LIST.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    read = settings.Settings.read(Path("configuration.yaml"))
    # Short frames, so that there is something to crop.
    sizes = {"frame_length": 1024, "frame_step": 256, "chunk_seconds": 0.8}
    return dataclasses.replace(read, **sizes, batch_size=4, chunks_per_song=2, steps=10)


def songs(run):
    return tracks.read(LIST, run.sample_rate)


def place(run, chunks=None):
    return cache.place(run, songs(run), chunks or cache.to_train_on(run), CACHE)


def segments(run, chunks=None):
    """Returns the segments, of which all are in the cache."""
    chunks = chunks or cache.to_train_on(run)
    all_segments = cache.Segments(run, songs(run), chunks, place(run, chunks))
    all_segments.fill(range(len(all_segments)))
    return all_segments


def to_validate_on(run):
    return segments(run, cache.to_validate_on(run))


def batches(run, first_step=0, count=5, share=None, **changes):
    run = dataclasses.replace(run, **changes)
    share = share or Share(run.batch_size)
    stored = segments(run)
    dataset = training_dataset(run, stored, draws(run, stored), first_step, share)
    return [
        {name: array.numpy() for name, array in {**features, **labels}.items()}
        for features, labels in itertools.islice(dataset, count)
    ]


def assert_equal(first, second):
    assert len(first) == len(second)
    for batch, other_batch in zip(first, second, strict=True):
        assert batch.keys() == other_batch.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other_batch[name])


def test_the_order_depends_on_the_seed_and_the_step_alone(run):
    first = batches(run)
    assert {array.shape for batch in first for array in batch.values()} == {(4, 64, 256, 2)}
    assert set(first[0]) == {MIX, *(f"{stem}_spectrogram" for stem in settings.STEMS)}
    # The cache exists now, and the run may begin at any step.
    assert_equal(batches(run, first_step=2, count=3), first[2:])
    (other,) = batches(run, count=1, seed=run.seed + 1)
    assert not np.array_equal(other[MIX], first[0][MIX])


def test_a_crop_is_the_same_of_every_instrument(run):
    """If every stem is the mixture, all spectrograms are those of the mixture."""
    text = LIST.read_text()
    for stem in settings.STEMS:
        text = text.replace(f"/{stem}.wav", "/mixture.wav")
    LIST.write_text(text)
    for batch in batches(run, count=2):
        for stem in settings.STEMS:
            np.testing.assert_array_equal(batch[f"{stem}_spectrogram"], batch[MIX])


@pytest.mark.parametrize("seed", [4, *in_ci(0)])
@pytest.mark.parametrize("same_passes", [True, False])
@pytest.mark.parametrize("count", [3, *in_ci(1)])
def test_batches_are_those_of_stock_spleeter(run, monkeypatch, seed, same_passes, count):
    """They have the same order and crops, and the same spectrograms except for rounding."""
    run = dataclasses.replace(run, seed=seed, same_passes=same_passes, chunks_per_song=count)
    # The four threads of stock Spleeter may overtake each other; a single one keeps the order.
    one_thread = partialmethod(DatasetBuilder.build, num_parallel_calls=1)
    monkeypatch.setattr(DatasetBuilder, "build", one_thread)
    params = run.spleeter() | {
        "train_csv": str(LIST),
        "batch_size": run.batch_size,
        "chunk_duration": run.chunk_seconds,
        "n_chunks_per_song": count,
        "random_seed": seed,
        "training_cache": "stock_cache/training" if same_passes else None,
    }
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(seed)  # as the Estimator does
        dataset = get_training_dataset(params, SoundfileAudioAdapter(), ".")
        iterator = tf.compat.v1.data.make_initializable_iterator(dataset)
        following = iterator.get_next()
        session.run(iterator.initializer)
        stock = [session.run(following) for _ in range(run.steps)]
    for (features, labels), ours in zip(stock, batches(run, count=run.steps), strict=True):
        for name, expected in {**features, **labels}.items():
            ratio = 20 * np.log10(ours[name] / expected)
            assert np.abs(ratio).max() < 1.2  # as in validation, below
            assert np.abs(ratio).mean() < 0.03


def test_every_segment_and_every_crop_is_drawn(run):
    stored = segments(run)
    drawn = draws(dataclasses.replace(run, steps=2000), stored)
    assert drawn.shape == (8000, 2)
    numbers, times = np.unique(drawn[:, 0], return_counts=True)
    assert numbers.tolist() == list(range(6))
    assert times.min() > 8000 / 6 - 256  # a buffer holds some back
    rooms = [stored.frames(number) - run.T + 1 for number in range(6)]
    for number, room in enumerate(rooms):
        assert set(drawn[drawn[:, 0] == number, 1]) == set(range(room))


def test_workers_share_every_batch(run):
    undivided = batches(run, count=3)
    parts = [
        batches(run, count=3, share=Share(batch_size=2, worker=worker, workers=2))
        for worker in (0, 1)
    ]
    together = [
        {name: np.concatenate([first[name], second[name]]) for name in first}
        for first, second in zip(*parts, strict=True)
    ]
    assert_equal(together, undivided)


def test_the_devices_of_a_worker_share_its_part(run):
    share = Share(batch_size=1, devices=2, worker=1, workers=2)
    actual = batches(run, count=4, share=share)
    undivided = batches(run, count=2)
    expected = [
        {name: array[k : k + 1] for name, array in batch.items()}
        for batch in undivided
        for k in (2, 3)
    ]
    assert_equal(actual, expected)


def test_a_cache_is_filled_once(run):
    assert len(segments(run)) == 6
    times = {path: path.stat().st_mtime_ns for path in place(run).iterdir()}
    assert len(times) == 6
    segments(run)
    assert {path: path.stat().st_mtime_ns for path in place(run).iterdir()} == times
    assert sorted(path.suffix for path in CACHE.iterdir()) == ["", ".lock"]


def test_only_needed_segments_are_made(run):
    stored = cache.Segments(run, songs(run), cache.to_train_on(run), place(run))
    assert len(stored) == 6
    stored.fill([1, 4])
    assert sorted(path.name for path in place(run).iterdir()) == ["000001", "000004"]
    stored.fill([1, 5])
    assert sorted(path.name for path in place(run).iterdir()) == ["000001", "000004", "000005"]


def test_a_segment_is_as_long_as_it_says(run):
    for chosen in (run, dataclasses.replace(run, chunk_seconds=30.0)):
        stored = segments(chosen)
        lengths = [stored.frames(number) for number in range(len(stored))]
        stored_lengths = [stored.stored(number)[1].shape[1] for number in range(len(stored))]
        assert lengths == stored_lengths


def test_another_stft_or_list_is_another_cache(run):
    first = place(run)
    others = [
        place(dataclasses.replace(run, frame_step=128)),
        place(dataclasses.replace(run, F=128)),
        place(dataclasses.replace(run, chunk_seconds=0.7)),
        place(dataclasses.replace(run, chunks_per_song=1)),
    ]
    LIST.write_text("\n".join(LIST.read_text().splitlines()[:-1]) + "\n")
    others.append(place(run))
    assert len({first, *others}) == 6


def test_settings_that_do_not_change_the_segments_share_a_cache(run):
    assert place(run) == place(dataclasses.replace(run, seed=9, batch_size=1, steps=3))


def test_changed_audio_under_the_same_name_is_another_cache(run):
    with LIST.open(newline="") as file:
        mixture = Path(next(csv.DictReader(file))["mix_path"])
    copy = Path("copy.wav")
    copy.write_bytes(mixture.read_bytes())
    LIST.write_text(LIST.read_text().replace(str(mixture), str(copy)))
    first, stored = place(run), segments(run)
    times = copy.stat()
    louder = bytearray(copy.read_bytes())
    louder[-200_000:-100_000] = bytes(100_000)
    copy.write_bytes(louder)
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert first != place(run)
    changed = segments(run)
    same = [np.array_equal(changed.stored(k)[1], stored.stored(k)[1]) for k in range(len(stored))]
    assert not all(same)


def test_the_same_audio_elsewhere_is_the_same_cache(run):
    first = place(run)
    Path("elsewhere").symlink_to("data/music")
    LIST.write_text(LIST.read_text().replace("data/music", "elsewhere"))
    assert place(run) == first


def test_an_unfinished_segment_is_made_again(run):
    place(run).mkdir(parents=True)
    unfinished = place(run) / "000000.tmp"
    unfinished.touch()  # as a killed process leaves it
    stored = segments(run)
    assert len(stored.file(0).read_bytes()) > 5 * stored.frames(0) * run.F
    assert not unfinished.exists()


def test_an_unreadable_song_leaves_no_segment(run, monkeypatch):
    stored = cache.Segments(run, songs(run), cache.to_train_on(run), place(run))
    monkeypatch.setattr(
        "soundfile.SoundFile.read", lambda *_, **__: (_ for _ in ()).throw(OSError("gone"))
    )
    with pytest.raises(InputError) as refused:
        stored.fill(range(6))
    assert str(refused.value).endswith(
        "mixture.wav: can no longer be read; restore it, and repeat the command"
    )
    assert list(place(run).iterdir()) == []


def test_nan_samples_leave_no_segment(run):
    mixture = songs(run).tracks[1].mixture
    samples, rate = soundfile.read(mixture)
    samples[len(samples) // 2, 1] = np.nan
    soundfile.write("broken.wav", samples, rate, subtype="FLOAT")
    LIST.write_text(LIST.read_text().replace(str(mixture), "broken.wav"))
    with pytest.raises(InputError) as refused:
        segments(dataclasses.replace(run, chunks_per_song=1))
    assert str(refused.value) == (
        "broken.wav: has NaN or infinite samples; "
        "replace the file, or remove the song from the list"
    )
    (folder,) = (path for path in CACHE.iterdir() if path.is_dir())
    assert "000001" not in {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_chunks_begin_where_those_of_spleeter_do(run, chunks):
    builder = DatasetBuilder(run.spleeter(), None, "", chunk_duration=run.chunk_seconds)
    for track in songs(run).tracks:
        # A list of whole seconds is read as integers, which Spleeter's arithmetic refuses.
        song = tf.data.Dataset.from_tensors({"duration": float(track.duration)})
        expected = [float(chunk["start"]) for chunk in builder.compute_segments(song, chunks)]
        actual = cache.starts(track, cache.Chunks(chunks, run.chunk_seconds))
        assert sorted(actual) == pytest.approx(sorted(expected), abs=1e-6)


@pytest.fixture
def long_songs(run):
    """A list of two songs, which are all songs in a row, three and four times: 18 and 24 s."""
    with LIST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    new_rows = []
    for times in (3, 4):
        row = {"duration": 6.0 * times}
        for column in rows[0]:
            if column != "duration":
                parts = [soundfile.read(each[column], dtype="float32")[0] for each in rows]
                row[column] = f"{times}_{Path(rows[0][column]).name}"
                soundfile.write(row[column], np.concatenate(parts * times), run.sample_rate)
        new_rows.append(row)
    with LIST.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(new_rows)


def assert_validated_as_in_spleeter(run):
    """Compares the batches, of songs with T steps of the STFT; stock Spleeter has no others."""
    params = run.spleeter() | {"validation_csv": str(LIST), "batch_size": run.batch_size}
    (expected,) = get_validation_dataset(params, SoundfileAudioAdapter(), ".")
    (actual,) = validation_dataset(run, to_validate_on(run))
    for stock_spectrograms, our_spectrograms in zip(expected, actual, strict=True):
        assert stock_spectrograms.keys() == our_spectrograms.keys()
        for name, spectrogram in stock_spectrograms.items():
            assert our_spectrograms[name].shape == spectrogram.shape
            ratio = 20 * np.log10(our_spectrograms[name].numpy() / spectrogram.numpy())
            # That is three of 256 steps over 100 dB; rounding matters near the quietest level.
            assert np.abs(ratio).max() < 1.2
            assert np.abs(ratio).mean() < 0.01


def test_validation_has_the_batches_of_spleeter(run):
    assert_validated_as_in_spleeter(run)


def test_validation_takes_the_middle_of_the_middle_12_seconds(run, long_songs):
    """If the chunk is longer by an odd number of samples, its middle may be in another frame."""
    run = dataclasses.replace(run, chunk_seconds=13.77, frame_step=1000)
    assert_validated_as_in_spleeter(run)


def test_validation_takes_the_middle_and_pads_a_short_song(run):
    # 64 frames need 63 * 1024 + 4096 = 68 608 samples, and the song has 66 150.
    run = dataclasses.replace(run, frame_length=4096, frame_step=1024, chunk_seconds=2.5)
    with LIST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    song, _ = soundfile.read(rows[1]["mix_path"], dtype="float32")
    assert 64 * 1024 <= len(song) < 63 * 1024 + 4096
    dataset = validation_dataset(run, to_validate_on(run))
    ((features, _),) = list(dataset)
    actual = features[MIX].numpy()
    assert actual.shape == (3, 64, 256, 2)
    window = np.hanning(4097)[:-1, None]
    padded = np.concatenate([song, np.zeros((4096, 2), "f4")])
    expected = [np.fft.rfft(padded[k : k + 4096] * window, axis=0)[:256] for k in (0, 63 * 1024)]
    for frame, spectrum in zip((0, 63), expected, strict=True):
        # Spleeter stores its spectrograms in 256 steps over 100 dB.
        level = 20 * np.log10(np.abs(spectrum) / np.abs(spectrum).max() + 1e-9)
        loud = level > -40
        ratio = actual[1, frame][loud] / np.abs(spectrum)[loud]
        assert np.abs(20 * np.log10(ratio)).max() < 0.5


def test_validation_takes_longer_chunks_if_12_seconds_do_not_hold_t_frames(run):
    run = dataclasses.replace(run, T=1024, frame_length=4096, frame_step=1024, chunk_seconds=25.0)
    assert run.valid_chunk_seconds == 25.0


def test_the_margin_is_that_of_spleeter():
    assert DatasetBuilder.MARGIN == settings.MARGIN_SECONDS
