"""Float WAV files hold their samples and nothing else, and none may be shorter than its header."""

import errno
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from contract import wav
from contract.errors import InputError
from contract.wav import FloatWav, float_wav
from contract.wav_length import check_complete


def noise(channels: int, frames: int = 1000) -> np.ndarray:
    """Samples of which many exceed 1, (samples, channels), float32."""
    return np.random.default_rng(0).standard_normal((frames, channels)).astype("<f4") * 3


@pytest.mark.parametrize("channels", [1, 2])
def test_the_samples_are_those_that_libsndfile_would_write(tmp_path, channels):
    samples = noise(channels)
    soundfile.write(tmp_path / "reference.wav", samples, 44100, subtype="FLOAT")
    path = tmp_path / "ours.wav"
    path.write_bytes(float_wav(path, samples.tobytes(), 44100, channels))
    read = [
        soundfile.read(tmp_path / name, dtype="float32", always_2d=True)
        for name in ("ours.wav", "reference.wav")
    ]
    for actual, rate in read:
        assert rate == 44100
        np.testing.assert_array_equal(actual, samples)
    info = soundfile.info(tmp_path / "ours.wav")
    assert (info.format, info.subtype, info.channels) == ("WAV", "FLOAT", channels)


def test_a_file_written_in_pieces_at_another_time_has_the_same_bytes(tmp_path):
    samples = noise(2)
    whole = float_wav(tmp_path / "a.wav", samples.tobytes(), 8000, 2)
    time.sleep(1.1)  # libsndfile would now write another second
    with closing(FloatWav(tmp_path / "a.wav", 8000, 2, len(samples))) as file:
        for piece in np.array_split(samples, 3):
            file.write(piece.tobytes())
    assert (tmp_path / "a.wav").read_bytes() == whole


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_of_a_full_disk_names_the_file():
    with pytest.raises(OSError) as caught:
        FloatWav(Path("/dev/full"), 44100, 2, 10)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")


def test_more_samples_than_the_format_can_hold_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(InputError) as refused:
        FloatWav(path, 44100, 2, 2**29)
    assert str(refused.value) == (
        f"{path}: an estimate of 4294967296 bytes exceeds the 4 GiB that a WAV file can hold; "
        "cut the recording into parts"
    )
    assert not path.exists()
    most = (wav.LARGEST_SIZE + 8 - 58) // 8
    FloatWav(path, 44100, 2, most).close()
    with pytest.raises(InputError):
        FloatWav(path, 44100, 2, most + 1)


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    content = float_wav(path, noise(1).tobytes(), 8000, 1)
    path.write_bytes(content)
    check_complete(path, "copy it again")
    path.write_bytes(content[:-1])
    with pytest.raises(InputError) as refused:
        check_complete(path, "copy it again")
    assert str(refused.value) == (
        f"{path}: is cut short: it has 4057 bytes and its header says 4058; copy it again"
    )


@pytest.mark.parametrize("content", [b"", b"RIFF", b"fLaC\xff\xff\xff\x7f"])
def test_a_file_of_another_format_has_no_length_to_check(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    check_complete(tmp_path / "a", "copy it again")
