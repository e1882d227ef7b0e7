"""The adapter of libsndfile against Spleeter's own, which runs ffmpeg."""

import csv
import shutil

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from spleeter import SpleeterError
from spleeter.audio import Codec
from spleeter.audio.adapter import AudioAdapter

from spleeter_mod.adapter import SoundfileAudioAdapter

DOTTED = "spleeter_mod.adapter.SoundfileAudioAdapter"


@pytest.fixture
def song(workspace):
    with (workspace.root / "data/csv/music/train.csv").open(newline="") as file:
        return str(workspace.root / next(csv.DictReader(file))["mix_path"])


@pytest.fixture
def adapter():
    return AudioAdapter.get(DOTTED)


def test_spleeter_finds_it_by_its_dotted_path(adapter):
    assert isinstance(adapter, SoundfileAudioAdapter)


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="needs ffmpeg")
@pytest.mark.parametrize(
    ("offset", "duration"), [(None, None), (0.5, 1.0), (0.25, 100.0), (100.0, 1.0)]
)
def test_reads_what_ffmpeg_reads(adapter, song, offset, duration):
    expected, _ = AudioAdapter.default().load(song.encode(), offset, duration, 44100)
    waveform, rate = adapter.load(song.encode(), offset, duration, 44100)
    assert (waveform.dtype, rate) == (np.float32, 44100)
    np.testing.assert_array_equal(waveform, expected)
    assert len(waveform) == 0 if offset == 100.0 else len(waveform) > 20000


def test_resamples_when_another_rate_is_asked_for(adapter, tmp_path):
    time = np.arange(44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)[:, None]
    soundfile.write(tmp_path / "tone.wav", tone, 44100, subtype="FLOAT")
    waveform, rate = adapter.load(tmp_path / "tone.wav", 0.25, 0.5, 22050)
    assert (waveform.shape, waveform.dtype, rate) == ((11025, 1), np.float32, 22050)
    expected = 0.5 * np.sin(2 * np.pi * 440 * (0.25 + np.arange(11025) / 22050))
    np.testing.assert_allclose(waveform[100:-100, 0], expected[100:-100], atol=1e-3)


def test_an_unreadable_file_is_an_error_of_spleeter(adapter, tmp_path):
    (tmp_path / "no.wav").write_bytes(b"not audio")
    with pytest.raises(SpleeterError, match=r"no\.wav"):
        adapter.load(str(tmp_path / "no.wav"))
    loaded = adapter.load_waveform(
        tf.constant(str(tmp_path / "no.wav")),
        sample_rate=tf.constant(44100),
        dtype=tf.constant(b"float32"),
    )
    assert loaded["waveform_error"].numpy()


def test_writes_float_wav_the_same_every_time(adapter, tmp_path, monkeypatch):
    estimate = np.random.default_rng(0).standard_normal((1000, 2)).astype("f4") * 3
    adapter.save(tmp_path / "a.wav", estimate, 44100, Codec.WAV)
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(samples, estimate)
    info = soundfile.info(tmp_path / "a.wav")
    assert (rate, info.subtype, info.format) == (44100, "FLOAT", "WAV")
    # A header and the samples are all of the file; libsndfile would write the time of day as well.
    assert (tmp_path / "a.wav").stat().st_size == 58 + estimate.nbytes
    assert b"PEAK" not in (tmp_path / "a.wav").read_bytes()[:58]


def test_refuses_other_codecs(adapter, tmp_path):
    path = tmp_path / "a.mp3"
    with pytest.raises(SpleeterError) as refused:
        adapter.save(path, np.zeros((10, 2)), 44100, Codec.MP3)
    assert str(refused.value) == (
        f"{path}: cannot be written as {Codec.MP3}; choose the codec {Codec.WAV}"
    )
    assert not (tmp_path / "a.mp3").exists()
