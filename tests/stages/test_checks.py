"""The checks at the door, on copies of the real audio that are spoilt in each way."""

import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from metrics.errors import BadFilesError
from stages.checks import BLOCK, Mixture, Rules, check, check_mixture
from tests.conftest import TEST_DATA

SONG = TEST_DATA / "data/music/test/The Easton Ellises - Falcon 69 (test)"
STEMS = ("vocals", "drums", "bass", "other")
MUSIC = Rules(44100, 2, largest_difference=-10, mixed_by_program=False)
SPEECH = Rules(8000, 1, largest_difference=-40, mixed_by_program=True)


@pytest.fixture
def song(tmp_path):
    """A song of 2 s that may be spoilt: more than a block long."""
    folder = shutil.copytree(SONG, tmp_path / "song")
    assert soundfile.info(folder / "mixture.wav").frames > BLOCK
    return Mixture("test", folder / "mixture.wav", tuple(folder / f"{s}.wav" for s in STEMS))


@pytest.fixture
def talk(tmp_path):
    """A mixture of two speakers that may be spoilt."""
    folder = TEST_DATA / "data/speech/mixtures/wav8k/min/tt"
    name = sorted((folder / "mix").iterdir())[0].name
    for part in ("mix", "s1", "s2"):
        shutil.copy(folder / part / name, tmp_path / f"{part}.wav")
    return Mixture("test", tmp_path / "mix.wav", (tmp_path / "s1.wav", tmp_path / "s2.wav"))


def change(path, function, subtype="PCM_16"):
    """Replaces the samples of a file, (samples, channels) between -1 and 1, by a function's."""
    samples, rate = soundfile.read(path, always_2d=True)
    soundfile.write(path, function(samples), rate, subtype=subtype)


def instrumental(song, vocals=np.zeros_like):
    """Takes the vocals out of a song, of its mixture as well."""
    sung = soundfile.read(song.sources[0])[0]
    change(song.path, lambda x: x - sung)
    change(song.sources[0], vocals)


def told(mixture, rules):
    """The errors and the warnings, as lines; the folders are left out."""
    checked = check_mixture(mixture, rules)
    errors, warnings = (
        [str(one).replace(f"{mixture.path.parent}/", "") for one in some]
        for some in (checked.errors, checked.warnings)
    )
    return errors, warnings


def decibels(difference, mixture):
    return 10 * np.log10(np.sum(difference**2) / np.sum(mixture**2))


# --- good files ---------------------------------------------------------------------------


def test_real_files_pass(song, talk):
    assert told(song, MUSIC) == ([], [])
    assert told(talk, SPEECH) == ([], [])


def test_samples_and_the_largest_peak_are_measured(song):
    peaks = [np.abs(soundfile.read(path)[0]).max() for path in (song.path, *song.sources)]
    checked = check_mixture(song, MUSIC)
    assert checked.samples == soundfile.info(song.path).frames
    assert checked.peak == max(peaks)
    change(song.sources[1], lambda x: x / np.abs(x).max() * 0.99)
    assert check_mixture(song, MUSIC).peak == pytest.approx(0.99, abs=2**-15)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_any_encoding_of_the_same_samples_is_the_same(song, subtype):
    before = check_mixture(song, MUSIC)
    for path in (song.path, *song.sources):
        change(path, lambda x: x, subtype)
    assert check_mixture(song, MUSIC) == before


# --- samples ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_sample_that_is_no_number_is_told(song, value):
    def spoil(samples):
        samples[BLOCK + 10 :, 1] = value
        return samples

    change(song.sources[2], spoil, "FLOAT")
    line = f"bass.wav: found NaN or infinity at sample {BLOCK + 10}, expected finite samples"
    assert told(song, MUSIC) == ([line], [])


def test_a_silent_mixture_is_refused_in_music_and_speech(song, talk):
    for mixture, rules in ((song, MUSIC), (talk, SPEECH)):
        change(mixture.path, np.zeros_like)
        errors, warnings = told(mixture, rules)
        assert errors == [f"{mixture.path.name}: found silence, expected a sample above -90 dBFS"]
        assert warnings == []


def test_a_silent_stem_is_a_warning_and_a_silent_speaker_an_error(song, talk):
    """A song may have no vocals; SI-SNR to silence is not defined."""
    instrumental(song, lambda x: np.sign(x) * 2**-15)  # what dithering leaves of silence
    line = "vocals.wav: found silence, expected a sample above -90 dBFS"
    assert told(song, MUSIC) == ([], [line])
    change(talk.sources[1], np.zeros_like)
    assert told(talk, SPEECH)[0][0] == "s2.wav: found silence, expected a sample above -90 dBFS"


SCORED = replace(MUSIC, unscored="; no scores")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_that_a_song_to_test_on_will_have_no_scores_is_told(song, split):
    """Where a stem is silent, not where it is only very quiet."""
    song = replace(song, split=split)
    instrumental(song)
    line = "vocals.wav: found silence, expected a sample above -90 dBFS"
    consequence = "; no scores" if split == "test" else ""
    assert told(song, SCORED) == ([], [line + consequence])
    change(song.sources[0], lambda x: np.eye(*x.shape) * 2**-15)
    assert told(song, SCORED) == ([], [line])


@pytest.mark.parametrize("split", ["train", "test"])
def test_channels_that_cancel_are_silence_to_the_scores(song, split):
    song = replace(song, split=split)
    instrumental(song, lambda x: 2**-7 * np.sign(x[:, :1]) * [1, -1])
    line = "vocals.wav: found channels that cancel each other, expected a sum that is not silent"
    assert told(song, SCORED) == ([], [f"{line}; no scores"] if split == "test" else [])
    assert told(song, MUSIC) == ([], [])


def test_two_steps_are_no_silence(song):
    instrumental(song, lambda x: np.sign(x) * 2**-14)
    assert told(song, MUSIC) == ([], [])


def test_what_cannot_be_read_to_its_end_is_told(song):
    """A compressed file by the name of a WAV file, damaged in the middle of its audio."""
    samples, rate = soundfile.read(song.sources[3])
    path = song.sources[3]
    soundfile.write(path, samples, rate, format="FLAC", subtype="PCM_16")
    assert told(song, MUSIC) == ([], [])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    ((line,), warnings) = told(song, MUSIC)
    assert line.startswith("other.wav: found nothing readable from sample ")
    assert line.endswith(f", expected {len(samples)} samples")
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
def test_speakers_that_do_not_add_up_are_refused_with_the_difference(talk, spoil, part):
    change(talk.path.parent / f"{part}.wav", spoil)
    mixture, one, two = (soundfile.read(path)[0] for path in (talk.path, *talk.sources))
    difference = decibels(mixture - one - two, mixture)
    assert told(talk, SPEECH) == (
        [
            f"mix.wav: found a difference of {difference:.1f} dB to the sum of its sources, "
            "expected at most -40"
        ],
        [],
    )


def test_what_is_40_db_below_the_mixture_is_let_through(talk):
    def noisy(samples):
        noise = np.random.default_rng(0).normal(size=samples.shape)
        return samples + noise * np.sqrt(np.sum(samples**2) / np.sum(noise**2)) * 10 ** (-41 / 20)

    change(talk.path, noisy)
    mixture, one, two = (soundfile.read(path)[0] for path in (talk.path, *talk.sources))
    assert decibels(mixture - one - two, mixture) == pytest.approx(-41, abs=0.1)
    assert told(talk, SPEECH) == ([], [])


def test_the_rounding_of_quiet_files_is_let_through(talk):
    """At 60 dB less, rounding to 16 bits alone makes a difference above the limit."""
    sources = [soundfile.read(path)[0] / 1000 for path in talk.sources]
    for path, samples in zip((talk.path, *talk.sources), (sum(sources), *sources), strict=True):
        soundfile.write(path, np.rint(samples * 2**15).astype(np.int16), 8000, subtype="PCM_16")
    mixture, one, two = (soundfile.read(path)[0] for path in (talk.path, *talk.sources))
    assert decibels(mixture - one - two, mixture) > -40
    assert told(talk, SPEECH) == ([], [])


def test_stems_that_do_not_add_up_are_a_warning(song):
    """The embedded song was coded as AAC, stem by stem: its difference is let through."""
    mixture, *stems = (soundfile.read(path)[0] for path in (song.path, *song.sources))
    assert -25 < decibels(mixture - sum(stems), mixture) < -15
    shutil.copy(song.sources[2], song.sources[1])  # the bass instead of the drums
    stems[1] = stems[2]
    difference = decibels(mixture - sum(stems), mixture)
    line = f"mixture.wav: found a difference of {difference:.1f} dB to the sum of its sources"
    assert told(song, MUSIC) == ([], [f"{line}, expected at most -10"])


# --- many ---------------------------------------------------------------------------------


def test_every_bad_file_of_a_mixture_is_told_once(song):
    vocals, drums, bass, other = song.sources
    vocals.unlink()
    drums.write_bytes(drums.read_bytes()[:-1000])
    samples, _ = soundfile.read(bass, dtype="int16")
    soundfile.write(bass, samples[:-1, 0], 22050, subtype="PCM_16")
    change(other, lambda x: x * np.nan, "FLOAT")
    errors, _ = told(song, MUSIC)
    assert [line.split(",")[0] for line in errors] == [
        "vocals.wav: found no such file",
        "drums.wav: found 351844 bytes",
        "bass.wav: found 22050 Hz",
        "other.wav: found NaN or infinity at sample 0",
    ]


def test_a_folder_by_the_name_of_a_file_is_told(song):
    song.sources[0].unlink()
    song.sources[0].mkdir()
    assert told(song, MUSIC)[0] == ["vocals.wav: found is a directory, expected a WAV file"]


def test_the_same_mixture_in_two_splits_is_refused(song, tmp_path):
    """By its samples: under another name, in another encoding."""
    folder = shutil.copytree(song.path.parent, tmp_path / "another")
    change(folder / "mixture.wav", lambda x: x, "FLOAT")
    sources = tuple(folder / path.name for path in song.sources)
    copy = Mixture("train", folder / "mixture.wav", sources)
    with pytest.raises(BadFilesError) as caught:
        check([copy, song], MUSIC, "test", "song")
    assert str(caught.value) == (
        f"{song.path}: found the same audio as {copy.path}, expected another mixture in each split"
    )
    check([copy, song], replace(MUSIC, same_splits=True), "test", "song")
    check([replace(copy, split="test"), song], MUSIC, "test", "song")

    def one_step_more(samples):
        samples[-1, -1] += 2**-15
        return samples

    change(song.path, one_step_more)
    check([copy, song], MUSIC, "test", "song")


def test_ten_bad_files_are_told_and_the_rest_counted(song, tmp_path, capsys):
    songs = []
    for number in range(12):
        folder = shutil.copytree(song.path.parent, tmp_path / f"{number:02}")
        (folder / STEMS[number % 4]).with_suffix(".wav").unlink()
        sources = tuple(folder / path.name for path in song.sources)
        songs.append(Mixture(("train", "test")[number % 2], folder / "mixture.wav", sources))
    with pytest.raises(BadFilesError) as caught:
        check(songs, MUSIC, "test", "song")
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    for number, line in enumerate(lines[:10]):
        path = tmp_path / f"{number:02}" / f"{STEMS[number % 4]}.wav"
        assert line.removeprefix("ERROR: ") == f"{path}: found no such file, expected a WAV file"
    assert lines[-1] == "ERROR: and 2 more"


def test_ten_warnings_are_told_and_the_rest_counted(song, tmp_path, capfd):
    instrumental(song)
    songs = []
    for number in range(11):
        folder = shutil.copytree(song.path.parent, tmp_path / f"{number:02}")
        sources = tuple(folder / path.name for path in song.sources)
        songs.append(Mixture("train", folder / "mixture.wav", sources))
    check(songs, MUSIC, "test", "song")
    warnings = [line for line in capfd.readouterr().err.splitlines() if "WARNING: " in line]
    assert len(warnings) == 11
    assert warnings[0].startswith(f"WARNING: {tmp_path}/00/vocals.wav: found silence")
    assert warnings[-1] == "WARNING: and 1 more"


def test_memory_does_not_grow_with_length(song):
    """Twenty minutes of stereo, 5 × 212 MB of 16 bits; most of it a hole in the file."""
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
    checked = check_mixture(song, MUSIC)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (checked.samples, checked.errors) == (frames, [])
    assert checked.peak == 30000 / 2**15  # of the last sample
    assert peak < 10e6
