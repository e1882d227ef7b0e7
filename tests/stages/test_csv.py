"""The lists of the trainers, and what stands between them and bad files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from metrics.errors import InputError
from stages import csv_music, csv_speech, layout, params
from stages.wsj0mix import SPLITS
from tests.conftest import ROOT, TEST_DATA
from tests.stages import standin
from tests.yaml_files import read_yaml

MUSIC = params.load(ROOT / "params.yaml").music
SPEECH = params.load(ROOT / "params.yaml").speech
TRAIN, TEST = (f"The Easton Ellises - Falcon 69 ({part})" for part in ("train", "test"))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the data that may be spoilt, as the working directory."""
    for folder in ("csv", "music", "speech/mixtures"):
        shutil.copytree(TEST_DATA / "data" / folder, tmp_path / "data" / folder)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def chosen(group, name, **changes):
    """The configuration of a data set, as conf/ has it but for the changes."""
    values = read_yaml(ROOT / "params.yaml")
    choice = read_yaml(ROOT / "conf" / group / f"{name}.yaml")
    return getattr(params.check({**values, group: {**choice, **changes}}), group)


def stage(name, root, *prefix):
    """Runs a stage as `dvc repro` does."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", f"stages.{name}"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def errors(done):
    return [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]


def lists(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.csv")}


# --- the lists ----------------------------------------------------------------------------


def test_music_lists_have_spleeters_columns(data):
    frames = {split: pd.read_csv(data / "csv" / "music" / f"{split}.csv") for split in SPLITS}
    for frame in frames.values():
        assert ",".join(frame) == "mix_path,vocals_path,drums_path,bass_path,other_path,duration"
        assert all(Path(path).is_file() for path in frame.iloc[0, :5])
    assert frames["valid"].duration.tolist() == [1.5]


def test_speech_lists_hold_every_mixture_with_its_sources(data):
    for split, folder in SPLITS.items():
        frame = pd.read_csv(data / "csv" / "speech" / f"{split}.csv")
        assert list(frame) == ["mix_path", "s1_path", "s2_path", "length", "sample_rate"]
        there = sorted((data / "speech/mixtures/wav8k/min" / folder / "mix").iterdir())
        assert frame.mix_path.tolist() == [str(path.relative_to(data.parent)) for path in there]
        for row in frame.itertuples():
            for path in (row.mix_path, row.s1_path, row.s2_path):
                info = soundfile.info(path)
                assert (info.frames, info.samplerate) == (row.length, row.sample_rate)


@pytest.mark.parametrize("name", ["csv_music", "csv_speech"])
def test_one_core_and_all_make_the_same_lists_and_summary(data, name):
    before = lists(data / "csv")
    everything = stage(name, data.parent)
    assert (everything.returncode, errors(everything)) == (0, [])
    assert lists(data / "csv") == before
    one = stage(name, data.parent, "taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
    assert (one.returncode, one.stdout) == (0, everything.stdout)
    assert lists(data / "csv") == before


@pytest.mark.parametrize("name", ["csv_music", "csv_speech"])
def test_a_summary_tells_count_hours_rate_and_peak_of_each_split(data, name):
    group = name.removeprefix("csv_")
    rows = [line.split() for line in stage(name, data.parent).stdout.splitlines()]
    units = {"music": "songs", "speech": "mixtures"}[group]
    assert rows[0] == ["split", units, "hours", "Hz", "peak", "dBFS"]
    for row, split in zip(rows[1:], SPLITS, strict=True):
        frame = pd.read_csv(data / "csv" / group / f"{split}.csv")
        paths = frame[[column for column in frame if column.endswith("_path")]]
        audio = [soundfile.read(path) for path in paths.to_numpy().ravel()]
        peak = max(np.abs(samples).max() for samples, _ in audio)
        seconds = sum(soundfile.info(path).duration for path in frame.mix_path)
        hours, rate = f"{seconds / 3600:.3f}", str(audio[0][1])
        assert row == [split, str(len(frame)), hours, rate, f"{20 * np.log10(peak):.2f}"]


# --- bad files ----------------------------------------------------------------------------


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def shorter(path):
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples[:-1], rate, subtype="PCM_16")


def other_rate(path):
    samples, _ = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples, 22050, subtype="PCM_16")


def other_channels(path):
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    samples = samples[:, :1] if samples.shape[1] == 2 else np.repeat(samples, 2, axis=1)
    soundfile.write(path, samples, rate, subtype="PCM_16")


def no_audio(path):
    path.write_text("not audio")


def empty(path):
    info = soundfile.info(path)
    nothing = np.zeros((0, info.channels))
    soundfile.write(path, nothing, info.samplerate, subtype="PCM_16")


def not_a_number(path):
    samples, rate = soundfile.read(path)
    samples[1000] = np.nan
    soundfile.write(path, samples, rate, subtype="FLOAT")


def silent(path):
    samples, rate = soundfile.read(path)
    soundfile.write(path, np.zeros_like(samples), rate, subtype="PCM_16")


DAMAGES = [
    (cut_short, r"found \d+ bytes, expected \d+ as its header says \(cut short\)"),
    (shorter, r"found \d+ samples, expected \d+"),
    (no_audio, "found .*, expected a WAV file"),
    (empty, "found no samples, expected audio"),
    (Path.unlink, "found no such file, expected a WAV file"),
    (not_a_number, "found NaN or infinity at sample 1000, expected finite samples"),
]


def refuses(write_lists, given, source, target, path, message):
    """That the lists are refused for the one file, and those there are stay."""
    before = lists(target.parent)
    with pytest.raises(InputError, match=f"{path.name}: {message}") as caught:
        write_lists(given, source, target)
    assert str(caught.value).count("\n") == 0
    assert str(path.relative_to(Path.cwd())) in str(caught.value)
    assert lists(target.parent) == before
    assert not list(target.parent.glob(".*"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *DAMAGES,
        (other_rate, "found 22050 Hz, expected 44100"),
        (other_channels, "found 1 channels, expected 2"),
    ],
)
def test_a_bad_stem_is_named_and_the_old_lists_stay(data, damage, message):
    path = data / "music" / "test" / TEST / "drums.wav"
    damage(path)
    given = (MUSIC, layout.MUSIC, layout.MUSIC_LISTS)
    refuses(csv_music.write_lists, *given, path, message)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *DAMAGES,
        (other_rate, "found 22050 Hz, expected 8000"),
        (other_channels, "found 2 channels, expected 1"),
        (silent, "found silence, expected a sample above -90 dBFS"),
    ],
)
def test_a_bad_source_is_named_and_the_old_lists_stay(data, damage, message):
    path = sorted((data / "speech/mixtures/wav8k/min/tt/s2").iterdir())[0]
    damage(path)
    given = (SPEECH, layout.MIXTURES, layout.SPEECH_LISTS)
    refuses(csv_speech.write_lists, *given, path, message)


def test_sources_of_another_mixture_are_refused(data):
    """Files of the right form, but under each other's names."""
    one, two = sorted((data / "speech/mixtures/wav8k/min/tr/s2").iterdir())[:2]
    length = min(soundfile.info(path).frames for path in (one, two))
    for path in (one, two):
        for part in ("mix", "s1", "s2"):
            file = path.parent.parent / part / path.name
            samples, rate = soundfile.read(file, dtype="int16")
            soundfile.write(file, samples[:length], rate, subtype="PCM_16")
    csv_speech.write_lists(SPEECH, layout.MIXTURES, layout.SPEECH_LISTS)
    one.rename(one.with_name("kept"))
    two.rename(one)
    one.with_name("kept").rename(two)
    done = stage("csv_speech", data.parent)
    assert done.returncode == 1
    for line, path in zip(errors(done), (one, two), strict=True):
        assert line.startswith(f"ERROR: data/speech/mixtures/wav8k/min/tr/mix/{path.name}: found")
        assert "dB to the sum of its sources, expected at most -40" in line


def test_twelve_bad_files_are_ten_lines_and_a_count(data):
    folder = data / "speech/mixtures/wav8k/min"
    paths = sorted(path for part in ("s1", "s2") for path in (folder / "tr" / part).iterdir())
    assert len(paths) == 12
    for path in paths:
        cut_short(path)
    done = stage("csv_speech", data.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    *told, rest = errors(done)
    assert len(told) == 10
    assert all("as its header says (cut short)" in line for line in told)
    named = [line.removeprefix("ERROR: ").split(": found")[0] for line in told]
    there = [str(path.relative_to(data.parent)) for path in paths]
    assert len(set(named)) == 10
    assert set(named) < set(there)
    assert rest == "ERROR: and 2 more"
    assert lists(data / "csv") == lists(TEST_DATA / "data" / "csv")


def without_vocals(song):
    sung, rate = soundfile.read(song / "vocals.wav")
    silent(song / "vocals.wav")
    mixture, _ = soundfile.read(song / "mixture.wav")
    soundfile.write(song / "mixture.wav", mixture - sung, rate, subtype="PCM_16")


@pytest.mark.parametrize(
    ("song", "consequence"),
    [
        (f"train/{TRAIN}", ""),
        (
            f"test/{TEST}",
            "; the song will have no scores, for BSS Eval (museval) scores no stem in a frame in "
            "which one of the stems is silent",
        ),
    ],
)
def test_a_song_without_vocals_is_a_warning(data, song, consequence):
    without_vocals(data / "music" / song)
    done = stage("csv_music", data.parent)
    assert (done.returncode, errors(done)) == (0, [])
    assert [line for line in done.stderr.splitlines() if line.startswith("WARNING: ")] == [
        f"WARNING: data/music/{song}/vocals.wav: found silence, "
        f"expected a sample above -90 dBFS{consequence}"
    ]
    assert lists(data / "csv") == lists(TEST_DATA / "data" / "csv")


def test_a_song_that_has_no_scores_as_it_was_told_is_counted_so(data):
    song = data / "music" / "test" / TEST
    without_vocals(song)
    estimates = data.parent / "results/spleeter/estimates" / TEST
    shutil.copytree(song, estimates)
    for target in csv_music.TARGETS:
        shutil.copyfile(song / "mixture.wav", estimates / f"{target}.wav")
    assert "will have no scores" in stage("csv_music", data.parent).stderr
    assert stage("evaluate_spleeter", data.parent).returncode == 0
    scores = json.loads((data.parent / "results/spleeter/scores.json").read_text())
    assert (scores["tracks"], scores["unscored_tracks"]) == (0, 1)
    assert scores["SDR"] == dict.fromkeys([*csv_music.TARGETS, "mean"])


@pytest.mark.parametrize("name", ["csv_music", "csv_speech"])
def test_a_mixture_of_another_split_is_refused(data, name):
    if name == "csv_music":
        one, other = data / "music/train" / TRAIN, data / "music/test" / TEST
        for path in one.iterdir():
            shutil.copy(path, other)
        copy, first = other / "mixture.wav", one / "mixture.wav"
    else:
        one, other = data / "speech/mixtures/wav8k/min/tr", data / "speech/mixtures/wav8k/min/tt"
        first = sorted((one / "mix").iterdir())[2]
        for part in ("mix", "s1", "s2"):
            shutil.copy(one / part / first.name, other / part / "another name.wav")
        copy = other / "mix" / "another name.wav"
    done = stage(name, data.parent)
    assert done.returncode == 1
    copy, first = (path.relative_to(data.parent) for path in (copy, first))
    assert errors(done) == [
        f"ERROR: {copy}: found the same audio as {first}, expected another mixture in each split"
    ]
    assert lists(data / "csv") == lists(TEST_DATA / "data" / "csv")


def test_a_split_without_mixtures_is_named(data):
    shutil.rmtree(data / "speech/mixtures/wav8k/min/cv/mix")
    done = stage("csv_speech", data.parent)
    line = "data/speech/mixtures/wav8k/min/cv/mix: found no WAV files, expected mixtures"
    assert (done.returncode, done.stderr) == (1, f"ERROR: {line}\n")


# --- what depends on the data set ---------------------------------------------------------


def test_the_studys_mixtures_are_let_through_as_they_are(data, capsys):
    """Noisy, and the same in each split; any other data set like it is refused."""
    folder = data / "speech" / "studys"
    for split in SPLITS.values():
        standin.write_studys(folder / "wav8k" / "min" / split)
    studys = chosen("speech", "svoice_debug", path="theirs")
    csv_speech.write_lists(studys, folder, layout.SPEECH_LISTS)
    frames = [pd.read_csv(layout.SPEECH_LISTS / f"{split}.csv") for split in SPLITS]
    assert [len(frame) for frame in frames] == [8, 8, 8]
    assert "all splits hold the same mixtures" in capsys.readouterr().out
    with pytest.raises(InputError) as caught:
        csv_speech.write_lists(
            chosen("speech", "folder", path="theirs"), folder, layout.SPEECH_LISTS
        )
    assert str(caught.value).count("dB to the sum of its sources, expected at most -40") == 10
    assert str(caught.value).endswith("\nERROR: and 14 more")


def songs(data, *names):
    """Copies of the song to train on under other names, as the train folder."""
    song = data / "music" / "train" / TRAIN
    for name in names:
        shutil.copytree(song, data / "music" / "train" / name)
    for path in (data / "music" / "train").glob("The Easton*"):
        shutil.rmtree(path)


def listed(split):
    frame = pd.read_csv(layout.MUSIC_LISTS / f"{split}.csv")
    return [Path(path).parent.name for path in frame.mix_path]


@pytest.mark.parametrize(("count", "validate"), [(2, 1), (10, 1), (19, 1), (20, 2)])
def test_the_last_tenth_by_name_validates_where_none_are_named(data, count, validate):
    names = [f"{number:02}" for number in range(count)]
    songs(data, *names)
    for name in names[-validate:]:  # of other audio than those that are trained on
        mixture = data / "music" / "train" / name / "mixture.wav"
        samples, rate = soundfile.read(mixture, dtype="int16")
        soundfile.write(mixture, -samples, rate, subtype="PCM_16")
    csv_music.write_lists(chosen("music", "folder", path="x"), layout.MUSIC, layout.MUSIC_LISTS)
    assert listed("train") == names[:-validate]
    assert listed("valid") == names[-validate:]
    assert listed("test") == [TEST]


def test_one_song_cannot_train_and_validate(data):
    songs(data, "only")
    with pytest.raises(InputError, match="train: found only validation tracks, expected tracks to"):
        csv_music.write_lists(chosen("music", "folder", path="x"), layout.MUSIC, layout.MUSIC_LISTS)


def test_of_the_excerpts_those_validate_that_are_there(data):
    songs(data, "A song", "ANiMAL - Rockshow")
    mixture = data / "music" / "train" / "A song" / "mixture.wav"
    samples, rate = soundfile.read(mixture, dtype="int16")
    soundfile.write(mixture, -samples, rate, subtype="PCM_16")
    given = (layout.MUSIC, layout.MUSIC_LISTS)
    csv_music.write_lists(chosen("music", "musdb18_7s"), *given)
    assert (listed("train"), listed("valid")) == (["A song"], ["ANiMAL - Rockshow"])
    # All of them have to be there in the full set, and one in the excerpts.
    with pytest.raises(InputError, match="One Minute Smile: found no such track, expected a valid"):
        csv_music.write_lists(chosen("music", "musdb18hq"), *given)
    shutil.rmtree(data / "music" / "train" / "ANiMAL - Rockshow")
    with pytest.raises(InputError, match="One Minute Smile: found no such track, expected a valid"):
        csv_music.write_lists(chosen("music", "musdb18_7s"), *given)


def test_a_missing_validation_track_is_named(data):
    music = MUSIC.model_copy(update={"validation_tracks": ["Nobody - Nothing"]})
    with pytest.raises(InputError, match="Nobody - Nothing: found no such track"):
        csv_music.write_lists(music, layout.MUSIC, layout.MUSIC_LISTS)
