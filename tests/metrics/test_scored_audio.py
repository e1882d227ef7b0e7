"""Audio files as other tools leave them: written into a pipe, cut off, with invalid samples."""

import numpy as np
import pytest
import soundfile

from metrics.core.audio import read, read_together
from metrics.core.errors import InputError

RATE = 8000
NOISE = 0.1 * np.random.default_rng(0).standard_normal((3000, 2))


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE, RATE)
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("missing", [1, 3000, 11999])
def test_a_wav_file_that_ends_early_is_refused(tmp_path, subtype, missing):
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE, RATE, subtype=subtype)
    size = NOISE.size * {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4, "DOUBLE": 8}[subtype]
    path.write_bytes(path.read_bytes()[:-missing])
    problem = f"it has {size - missing} bytes of samples and its header says {size}; write it again"
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: is cut short: {problem}"


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF - 36, 0x7FFFF000])
def test_a_wav_file_that_was_written_into_a_pipe_is_read(wav, length):
    expected, _ = read(wav)
    content = bytearray(wav.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = length.to_bytes(4, "little")
    wav.write_bytes(content)
    samples, rate = read(wav)
    assert rate == RATE
    np.testing.assert_array_equal(samples, expected)


def test_a_flac_file_without_its_length_is_refused(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, NOISE, RATE)
    content = bytearray(path.read_bytes())
    # The 36 bits at the end of the number of channels and of bits per sample, 0 for unknown.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flac: does not say how long it is, .*; write it"):
        read(path)


def test_a_flac_file_that_promises_too_much_is_refused(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, NOISE, RATE)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # 2^32 samples more than there are, which memory would not hold
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flac: "):
        read(path)


@pytest.mark.parametrize("blocks", [1, 2])
def test_files_of_several_blocks_are_read_whole(wav, monkeypatch, blocks):
    expected, _ = soundfile.read(wav, dtype="float32")
    monkeypatch.setattr("metrics.core.audio.BLOCK", len(NOISE) // blocks)
    np.testing.assert_array_equal(read(wav)[0], expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_estimate_with_samples_that_are_no_numbers_is_named(tmp_path, wav, value):
    broken = NOISE.copy()
    broken[7, 1] = value
    path = tmp_path / "b.wav"
    soundfile.write(path, broken, RATE, subtype="FLOAT")
    _, _, notes = read_together({"reference of drums": wav, "estimate of drums": path}, None)
    assert notes == ["the estimate of drums has samples that are NaN or infinite"]
    with pytest.raises(InputError, match=r"b\.wav: has samples that are NaN or infinite; write it"):
        read_together({"reference of drums": wav, "reference of bass": path}, None)
