"""The checks of data sets, on copies of the real audio that are spoilt in one way each."""

import re
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from contract.errors import BadFilesError
from contract.sources import CHANNELS, STEMS
from stages.datasets.audio import ANOTHER_COPY
from stages.datasets.checks import BLOCK, Mixture, Rules, check_all, check_mixture
from tests.conftest import TEST_DATA

SONG = TEST_DATA / "data/music/test/The Easton Ellises - Falcon 69 (test)"
MUSIC = Rules(44100, CHANNELS, largest_difference=-10, mixed_by_program=False)
SPEECH = Rules(8000, 1, largest_difference=-40, mixed_by_program=True)
SILENT = "is silent: no sample is above -90 dBFS"
MISSING = "there is no such file; fetch its data set again"
REMOVE = "replace it, or remove its mixture"
BELONG = "check that its sources belong to it"


@pytest.fixture
def song(tmp_path):
    """A song of 2 s, longer than a block, that a test may spoil."""
    folder = shutil.copytree(SONG, tmp_path / "song")
    assert soundfile.info(folder / "mixture.wav").frames > BLOCK
    return Mixture("test", folder / "mixture.wav", tuple(folder / f"{stem}.wav" for stem in STEMS))


@pytest.fixture
def talk(tmp_path):
    """A mixture of two speakers that a test may spoil."""
    folder = TEST_DATA / "data/speech/mixtures/wav8k/min/tt"
    name = sorted((folder / "mix").iterdir())[0].name
    for part in ("mix", "s1", "s2"):
        shutil.copy(folder / part / name, tmp_path / f"{part}.wav")
    return Mixture("test", tmp_path / "mix.wav", (tmp_path / "s1.wav", tmp_path / "s2.wav"))


def change(path, function, subtype="PCM_16"):
    """Applies a function to the samples of a file, (samples, channels) within ±1."""
    samples, rate = soundfile.read(path, always_2d=True)
    soundfile.write(path, function(samples), rate, subtype=subtype)


def remove_vocals(song, function=np.zeros_like):
    """Takes the vocals out of a mixture, and applies a function to the samples of the stem."""
    vocals = soundfile.read(song.sources[0])[0]
    change(song.path, lambda x: x - vocals)
    change(song.sources[0], function)


def faults(mixture, rules):
    """The errors and the warnings of a check, as lines without folders."""
    result = check_mixture(mixture, rules)
    errors, warnings = (
        [str(fault).replace(f"{mixture.path.parent}/", "") for fault in some_faults]
        for some_faults in (result.errors, result.warnings)
    )
    return errors, warnings


def decibels(difference, mixture):
    """The energy of a difference relative to a mixture, in dB."""
    return 10 * np.log10(np.sum(difference**2) / np.sum(mixture**2))


# --- good files ---------------------------------------------------------------------------


def test_real_files_pass(song, talk):
    assert faults(song, MUSIC) == ([], [])
    assert faults(talk, SPEECH) == ([], [])


def test_the_length_and_the_largest_peak_are_measured(song):
    peaks = [np.abs(soundfile.read(path)[0]).max() for path in (song.path, *song.sources)]
    result = check_mixture(song, MUSIC)
    assert result.samples == soundfile.info(song.path).frames
    assert result.peak == max(peaks)
    change(song.sources[1], lambda x: x / np.abs(x).max() * 0.99)
    assert check_mixture(song, MUSIC).peak == pytest.approx(0.99, abs=2**-15)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_the_result_does_not_depend_on_the_encoding(song, subtype):
    before = check_mixture(song, MUSIC)
    for path in (song.path, *song.sources):
        change(path, lambda x: x, subtype)
    assert check_mixture(song, MUSIC) == before


# --- samples ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_sample_that_is_not_finite_is_reported(song, value):
    def spoil(samples):
        samples[BLOCK + 10 :, 1] = value
        return samples

    change(song.sources[2], spoil, "FLOAT")
    line = (
        f"bass.wav: has NaN or infinite samples, the first is sample {BLOCK + 10}; {ANOTHER_COPY}"
    )
    assert faults(song, MUSIC) == ([line], [])


def test_a_silent_mixture_is_refused_in_music_and_speech(song, talk):
    for mixture, rules in ((song, MUSIC), (talk, SPEECH)):
        change(mixture.path, np.zeros_like)
        assert faults(mixture, rules) == ([f"{mixture.path.name}: {SILENT}; {REMOVE}"], [])


def test_a_silent_stem_is_a_warning_and_a_silent_speaker_an_error(song, talk):
    """A song may have no vocals; SI-SNR is not defined for a silent reference."""
    remove_vocals(song, lambda x: np.sign(x) * 2**-15)  # dithered silence
    assert faults(song, MUSIC) == ([], [f"vocals.wav: {SILENT}"])
    change(talk.sources[1], np.zeros_like)
    assert faults(talk, SPEECH) == ([f"s2.wav: {SILENT}; {REMOVE}"], [])


SCORED = replace(MUSIC, unscored="no scores")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_the_warning_says_that_a_test_song_will_have_no_scores(song, split):
    """If a stem is silent; a very quiet one has scores."""
    song = replace(song, split=split)
    remove_vocals(song)
    line = f"vocals.wav: {SILENT}"
    consequence = "; no scores" if split == "test" else ""
    assert faults(song, SCORED) == ([], [line + consequence])
    change(song.sources[0], lambda x: np.eye(*x.shape) * 2**-15)
    assert faults(song, SCORED) == ([], [line])


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_stem_whose_channels_cancel_has_no_scores(song, split):
    song = replace(song, split=split)
    remove_vocals(song, lambda x: 2**-7 * np.sign(x[:, :1]) * [1, -1])
    line = "vocals.wav: has channels that cancel each other: their sum is silent; no scores"
    assert faults(song, SCORED) == ([], [line] if split == "test" else [])
    assert faults(song, MUSIC) == ([], [])


def test_two_steps_of_16_bits_are_not_silence(song):
    remove_vocals(song, lambda x: np.sign(x) * 2**-14)
    assert faults(song, MUSIC) == ([], [])


def test_a_file_that_cannot_be_read_to_its_end_is_an_error(song):
    """A FLAC file under the name of a WAV file, damaged in the middle of its audio."""
    samples, rate = soundfile.read(song.sources[3])
    path = song.sources[3]
    soundfile.write(path, samples, rate, format="FLAC", subtype="PCM_16")
    assert faults(song, MUSIC) == ([], [])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    ((line,), warnings) = faults(song, MUSIC)
    assert re.fullmatch(
        r"other\.wav: cannot be read from sample \d+ on; "
        rf"its header says {len(samples)} samples; {ANOTHER_COPY}",
        line,
    )
    assert warnings == []


# --- sums ---------------------------------------------------------------------------------


def delayed(samples):
    return np.roll(samples, 1, axis=0)


def quieter(samples):
    return samples * 10 ** (-1 / 20)


def noisy(samples):
    noise = np.random.default_rng(0).normal(size=samples.shape)
    return samples + noise * np.sqrt(np.sum(samples**2) / np.sum(noise**2)) * 10 ** (-30 / 20)


def clipped(samples):
    return np.clip(samples, -0.2, 0.2)


@pytest.mark.parametrize("part", ["mix", "s1"])
@pytest.mark.parametrize("spoil", [delayed, quieter, noisy, clipped])
def test_speakers_that_do_not_add_up_are_an_error_with_the_difference(talk, spoil, part):
    change(talk.path.parent / f"{part}.wav", spoil)
    mixture, one, two = (soundfile.read(path)[0] for path in (talk.path, *talk.sources))
    difference = decibels(mixture - one - two, mixture)
    assert faults(talk, SPEECH) == (
        [
            f"mix.wav: differs from the sum of its sources by {difference:.1f} dB relative to its "
            f"energy, expected at most -40 dB; {BELONG}"
        ],
        [],
    )


def test_a_difference_below_the_limit_is_allowed(talk):
    def noisy(samples):
        noise = np.random.default_rng(0).normal(size=samples.shape)
        return samples + noise * np.sqrt(np.sum(samples**2) / np.sum(noise**2)) * 10 ** (-41 / 20)

    change(talk.path, noisy)
    mixture, one, two = (soundfile.read(path)[0] for path in (talk.path, *talk.sources))
    assert decibels(mixture - one - two, mixture) == pytest.approx(-41, abs=0.1)
    assert faults(talk, SPEECH) == ([], [])


def test_the_rounding_of_quiet_files_is_allowed(talk):
    """At 60 dB less, rounding to 16 bits alone makes a difference above the limit."""
    sources = [soundfile.read(path)[0] / 1000 for path in talk.sources]
    for path, samples in zip((talk.path, *talk.sources), (sum(sources), *sources), strict=True):
        soundfile.write(path, np.rint(samples * 2**15).astype(np.int16), 8000, subtype="PCM_16")
    mixture, one, two = (soundfile.read(path)[0] for path in (talk.path, *talk.sources))
    assert decibels(mixture - one - two, mixture) > -40
    assert faults(talk, SPEECH) == ([], [])


def test_stems_that_do_not_add_up_are_a_warning(song):
    """The embedded song was coded as AAC, stem by stem: its own difference is allowed."""
    mixture, *stems = (soundfile.read(path)[0] for path in (song.path, *song.sources))
    assert -25 < decibels(mixture - sum(stems), mixture) < -15
    shutil.copy(song.sources[2], song.sources[1])  # the bass instead of the drums
    stems[1] = stems[2]
    difference = decibels(mixture - sum(stems), mixture)
    line = (
        f"mixture.wav: differs from the sum of its sources by {difference:.1f} dB relative to its "
        f"energy, expected at most -10 dB; {BELONG}"
    )
    assert faults(song, MUSIC) == ([], [line])


# --- many ---------------------------------------------------------------------------------


def test_every_bad_file_of_a_mixture_is_reported_once(song):
    vocals, drums, bass, other = song.sources
    vocals.unlink()
    drums.write_bytes(drums.read_bytes()[:-1000])
    samples, _ = soundfile.read(bass, dtype="int16")
    soundfile.write(bass, samples[:-1, 0], 22050, subtype="PCM_16")
    change(other, lambda x: x * np.nan, "FLOAT")
    assert faults(song, MUSIC) == (
        [
            f"vocals.wav: {MISSING}",
            "drums.wav: is cut short: it has 351844 bytes and its header says 352844; "
            f"{ANOTHER_COPY}",
            "bass.wav: found a sample rate of 22050 Hz, expected 44100 Hz",
            f"other.wav: has NaN or infinite samples, the first is sample 0; {ANOTHER_COPY}",
        ],
        [],
    )


def test_a_folder_instead_of_a_file_is_an_error(song):
    song.sources[0].unlink()
    song.sources[0].mkdir()
    line = f"vocals.wav: cannot be read as audio (is a directory); {ANOTHER_COPY}"
    assert faults(song, MUSIC) == ([line], [])


def test_the_same_mixture_in_two_splits_is_refused(song, tmp_path):
    """Also under another name and in another encoding, because samples are compared."""
    folder = shutil.copytree(song.path.parent, tmp_path / "another")
    change(folder / "mixture.wav", lambda x: x, "FLOAT")
    sources = tuple(folder / path.name for path in song.sources)
    copy = Mixture("train", folder / "mixture.wav", sources)
    with pytest.raises(BadFilesError) as caught:
        check_all([copy, song], MUSIC, "test", "song")
    assert str(caught.value) == (
        f"{song.path}: has the same audio as {copy.path}, which is in another split; "
        "remove one of them"
    )
    check_all([copy, song], replace(MUSIC, same_splits=True), "test", "song")
    check_all([replace(copy, split="test"), song], MUSIC, "test", "song")

    def one_step_more(samples):
        samples[-1, -1] += 2**-15
        return samples

    change(song.path, one_step_more)
    check_all([copy, song], MUSIC, "test", "song")


def test_of_many_errors_ten_are_reported_and_the_rest_counted(song, tmp_path):
    songs = []
    for number in range(12):
        folder = shutil.copytree(song.path.parent, tmp_path / f"{number:02}")
        (folder / STEMS[number % 4]).with_suffix(".wav").unlink()
        sources = tuple(folder / path.name for path in song.sources)
        songs.append(Mixture(("train", "test")[number % 2], folder / "mixture.wav", sources))
    with pytest.raises(BadFilesError) as caught:
        check_all(songs, MUSIC, "test", "song")
    paths = [tmp_path / f"{number:02}" / f"{STEMS[number % 4]}.wav" for number in range(10)]
    lines = [*(f"{path}: {MISSING}" for path in paths), "and 2 more"]
    assert str(caught.value).split("\nERROR: ") == lines


def test_of_many_warnings_ten_are_reported_and_the_rest_counted(song, tmp_path, capfd):
    remove_vocals(song)
    songs = []
    for number in range(11):
        folder = shutil.copytree(song.path.parent, tmp_path / f"{number:02}")
        sources = tuple(folder / path.name for path in song.sources)
        songs.append(Mixture("train", folder / "mixture.wav", sources))
    check_all(songs, MUSIC, "test", "song")
    warnings = [line for line in capfd.readouterr().err.splitlines() if "WARNING: " in line]
    assert warnings == [
        *(f"WARNING: {tmp_path}/{number:02}/vocals.wav: {SILENT}" for number in range(10)),
        "WARNING: and 1 more",
    ]


def test_memory_does_not_grow_with_length(song):
    """Five files of twenty minutes, 212 MB each, mostly as holes on the disk."""
    minutes = 20
    for path in (song.path, *song.sources):
        samples, rate = soundfile.read(path, dtype="int16")
        frames = minutes * 60 * rate
        header = path.read_bytes()[:44]
        size = frames * 4
        header = (
            header[:4]
            + (36 + size).to_bytes(4, "little")
            + header[8:40]
            + size.to_bytes(4, "little")
        )
        with path.open("wb") as file:
            file.write(header + samples.tobytes())
            file.truncate(44 + size - 2)
            file.seek(44 + size - 2)
            file.write((30000).to_bytes(2, "little"))
    tracemalloc.start()
    result = check_mixture(song, MUSIC)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (result.samples, result.errors) == (frames, [])
    assert result.peak == 30000 / 2**15  # the last sample
    assert peak < 10e6  # bytes
