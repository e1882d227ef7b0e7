"""The trainers' lists, and the refusal of bad files."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from contract import layout, params, sources
from contract.errors import InputError
from stages import csv_music, csv_speech
from stages.datasets.audio import ANOTHER_COPY
from stages.datasets.wsj0mix import SPLITS
from tests import forked
from tests.conftest import ROOT, TEST_DATA
from tests.results import write_training
from tests.stages import standin
from tests.yaml_files import read_yaml

MUSIC = params.load(ROOT / "configuration.yaml").music
SPEECH = params.load(ROOT / "configuration.yaml").speech
TRAIN, TEST = (f"The Easton Ellises - Falcon 69 ({part})" for part in ("train", "test"))
SILENT = "is silent: no sample is above -90 dBFS"
UNSCORED = (
    "the song will have no scores, because BSS Eval (museval) scores no stem in a frame in which "
    "one of the stems is silent"
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the data that a test may spoil, below the working directory."""
    for folder in ("csv", "music", "speech/mixtures"):
        shutil.copytree(TEST_DATA / "data" / folder, tmp_path / "data" / folder)
    shutil.copy(ROOT / "configuration.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def configuration(group, name, **changes):
    """The configuration of a choice of conf/, with changes."""
    values = read_yaml(ROOT / "configuration.yaml")
    choice = read_yaml(ROOT / "conf" / group / f"{name}.yaml")
    return getattr(params.check({**values, group: {**choice, **changes}}), group)


def stage(name, root, *prefix):
    """Runs a stage as `dvc repro` does, with words before its command."""
    command = [*prefix, sys.executable, "-m", f"stages.{name}"]
    return forked.run_any(command, root, {**os.environ, "PYTHONPATH": str(ROOT)})


def errors(done):
    """The errors that a process has printed."""
    return [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]


def lists(folder):
    """The content of all lists below a folder."""
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
        mixtures = sorted((data / "speech/mixtures/wav8k/min" / folder / "mix").iterdir())
        assert frame.mix_path.tolist() == [str(path.relative_to(data.parent)) for path in mixtures]
        for row in frame.itertuples():
            for path in (row.mix_path, row.s1_path, row.s2_path):
                info = soundfile.info(path)
                assert (info.frames, info.samplerate) == (row.length, row.sample_rate)


@pytest.mark.parametrize("name", ["csv_music", "csv_speech"])
def test_the_number_of_cores_changes_neither_lists_nor_summary(data, name):
    before = lists(data / "csv")
    all_cores = stage(name, data.parent)
    assert (all_cores.returncode, errors(all_cores)) == (0, [])
    assert lists(data / "csv") == before
    one_core = stage(name, data.parent, "taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
    assert (one_core.returncode, one_core.stdout) == (0, all_cores.stdout)
    assert lists(data / "csv") == before


@pytest.mark.parametrize("name", ["csv_music", "csv_speech"])
def test_the_summary_has_count_hours_rate_and_peak_of_each_split(data, name):
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
    no_samples = np.zeros((0, info.channels))
    soundfile.write(path, no_samples, info.samplerate, subtype="PCM_16")


def not_a_number(path):
    samples, rate = soundfile.read(path)
    samples[1000] = np.nan
    soundfile.write(path, samples, rate, subtype="FLOAT")


def silent(path):
    samples, rate = soundfile.read(path)
    soundfile.write(path, np.zeros_like(samples), rate, subtype="PCM_16")


# Each damage, and a pattern of the error without the file's name.
DAMAGES = [
    (cut_short, rf"is cut short: it has \d+ bytes and its header says \d+; {ANOTHER_COPY}"),
    (shorter, r"found \d+ samples, expected \d+, the length of its mixture"),
    (no_audio, rf"cannot be read as audio \(.+\); {ANOTHER_COPY}"),
    (empty, f"has no samples; {ANOTHER_COPY}"),
    (Path.unlink, "there is no such file; fetch its data set again"),
    (not_a_number, f"has NaN or infinite samples, the first is sample 1000; {ANOTHER_COPY}"),
]


def check_refusal(write_lists, configuration, source, target, path, pattern):
    """The lists are refused because of one file, and the older lists stay."""
    before = lists(target.parent)
    with pytest.raises(InputError) as caught:
        write_lists(configuration, source, target)
    name = re.escape(str(path.relative_to(Path.cwd())))
    assert re.fullmatch(f"{name}: {pattern}", str(caught.value))
    assert lists(target.parent) == before
    assert not list(target.parent.glob(".*"))


@pytest.mark.parametrize(
    ("damage", "pattern"),
    [
        *DAMAGES,
        (other_rate, "found a sample rate of 22050 Hz, expected 44100 Hz"),
        (other_channels, "found 1 channel, expected 2 channels"),
    ],
)
def test_a_bad_stem_is_named_and_the_older_lists_stay(data, damage, pattern):
    path = data / "music" / "test" / TEST / "drums.wav"
    damage(path)
    arguments = (MUSIC, layout.MUSIC, layout.MUSIC_LISTS)
    check_refusal(csv_music.list_songs, *arguments, path, pattern)


@pytest.mark.parametrize(
    ("damage", "pattern"),
    [
        *DAMAGES,
        (other_rate, "found a sample rate of 22050 Hz, expected 8000 Hz"),
        (other_channels, "found 2 channels, expected 1 channel"),
        (silent, f"{SILENT}; replace it, or remove its mixture"),
    ],
)
def test_a_bad_source_is_named_and_the_older_lists_stay(data, damage, pattern):
    path = sorted((data / "speech/mixtures/wav8k/min/tt/s2").iterdir())[0]
    damage(path)
    arguments = (SPEECH, layout.MIXTURES, layout.SPEECH_LISTS)
    check_refusal(csv_speech.list_mixtures, *arguments, path, pattern)


DIFFERENT = (
    r"differs from the sum of its sources by -?\d+\.\d dB relative to its energy, "
    "expected at most -40 dB; check that its sources belong to it"
)


def test_sources_of_another_mixture_are_refused(data):
    """Two sources of the right length under each other's names."""
    first, second = sorted((data / "speech/mixtures/wav8k/min/tr/s2").iterdir())[:2]
    length = min(soundfile.info(path).frames for path in (first, second))
    for path in (first, second):
        for part in ("mix", "s1", "s2"):
            file = path.parent.parent / part / path.name
            samples, rate = soundfile.read(file, dtype="int16")
            soundfile.write(file, samples[:length], rate, subtype="PCM_16")
    csv_speech.list_mixtures(SPEECH, layout.MIXTURES, layout.SPEECH_LISTS)
    first.rename(first.with_name("kept"))
    second.rename(first)
    first.with_name("kept").rename(second)
    done = stage("csv_speech", data.parent)
    assert done.returncode == 1
    for line, path in zip(errors(done), (first, second), strict=True):
        name = re.escape(f"data/speech/mixtures/wav8k/min/tr/mix/{path.name}")
        assert re.fullmatch(f"ERROR: {name}: {DIFFERENT}", line)


def test_twelve_bad_files_are_ten_lines_and_a_count(data):
    folder = data / "speech/mixtures/wav8k/min"
    paths = sorted(path for part in ("s1", "s2") for path in (folder / "tr" / part).iterdir())
    assert len(paths) == 12
    for path in paths:
        cut_short(path)
    done = stage("csv_speech", data.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    *lines, rest = errors(done)
    pattern = re.compile(f"ERROR: (.+): {DAMAGES[0][1]}")
    names = [pattern.fullmatch(line).group(1) for line in lines]
    assert len(names) == len(set(names)) == 10
    assert set(names) < {str(path.relative_to(data.parent)) for path in paths}
    assert rest == "ERROR: and 2 more"
    assert lists(data / "csv") == lists(TEST_DATA / "data" / "csv")


def remove_vocals(song):
    vocals, rate = soundfile.read(song / "vocals.wav")
    silent(song / "vocals.wav")
    mixture, _ = soundfile.read(song / "mixture.wav")
    soundfile.write(song / "mixture.wav", mixture - vocals, rate, subtype="PCM_16")


@pytest.mark.parametrize(
    ("song", "consequence"),
    [
        (f"train/{TRAIN}", ""),
        (f"test/{TEST}", f"; {UNSCORED}"),
    ],
)
def test_a_song_without_vocals_is_a_warning(data, song, consequence):
    remove_vocals(data / "music" / song)
    done = stage("csv_music", data.parent)
    assert (done.returncode, errors(done)) == (0, [])
    assert [line for line in done.stderr.splitlines() if line.startswith("WARNING: ")] == [
        f"WARNING: data/music/{song}/vocals.wav: {SILENT}{consequence}"
    ]
    assert lists(data / "csv") == lists(TEST_DATA / "data" / "csv")


def test_a_song_with_the_warning_has_no_scores(data):
    song = data / "music" / "test" / TEST
    remove_vocals(song)
    estimates = data.parent / "results/spleeter/estimates" / TEST
    shutil.copytree(song, estimates)
    for target in sources.STEMS:
        shutil.copyfile(song / "mixture.wav", estimates / f"{target}.wav")
    (warning,) = (
        line
        for line in stage("csv_music", data.parent).stderr.splitlines()
        if line.startswith("WARNING: ")
    )
    assert warning.endswith(f"; {UNSCORED}")
    write_training(data.parent, "spleeter")
    for name in ("bound_music", "evaluate_spleeter"):
        done = stage(name, data.parent)
        assert done.returncode == 0, done.stderr
    scores = json.loads((data.parent / "results/spleeter/details.json").read_text())
    assert (scores["tracks"], scores["unscored_tracks"]) == (0, 1)
    assert scores["SDR"] == dict.fromkeys([*sources.STEMS, "mean"])
    assert scores["bounds"]["oracle"] == scores["SDR"]


@pytest.mark.parametrize("name", ["csv_music", "csv_speech"])
def test_a_mixture_of_another_split_is_refused(data, name):
    if name == "csv_music":
        original, other = data / "music/train" / TRAIN, data / "music/test" / TEST
        for path in original.iterdir():
            shutil.copy(path, other)
        copy, first = other / "mixture.wav", original / "mixture.wav"
    else:
        folder = data / "speech/mixtures/wav8k/min"
        first = sorted((folder / "tr" / "mix").iterdir())[2]
        for part in ("mix", "s1", "s2"):
            shutil.copy(
                folder / "tr" / part / first.name, folder / "tt" / part / "another name.wav"
            )
        copy = folder / "tt" / "mix" / "another name.wav"
    done = stage(name, data.parent)
    assert done.returncode == 1
    copy, first = (path.relative_to(data.parent) for path in (copy, first))
    assert errors(done) == [
        f"ERROR: {copy}: has the same audio as {first}, which is in another split; "
        "remove one of them"
    ]
    assert lists(data / "csv") == lists(TEST_DATA / "data" / "csv")


def test_a_split_without_mixtures_is_named(data):
    shutil.rmtree(data / "speech/mixtures/wav8k/min/cv/mix")
    done = stage("csv_speech", data.parent)
    line = "data/speech/mixtures/wav8k/min/cv/mix: has no WAV files; make the mixtures again"
    assert (done.returncode, done.stderr) == (1, f"ERROR: {line}\n")


# --- what depends on the data set ---------------------------------------------------------


def test_the_studys_mixtures_are_accepted_as_they_are(data, capsys):
    """They are noisy and the same in each split. Any other data set like it is refused."""
    folder = data / "speech" / "study"
    for split in SPLITS.values():
        standin.write_study_mixtures(folder / "wav8k" / "min" / split)
    study = configuration("speech", "svoice_debug", path="a folder")
    csv_speech.list_mixtures(study, folder, layout.SPEECH_LISTS)
    frames = [pd.read_csv(layout.SPEECH_LISTS / f"{split}.csv") for split in SPLITS]
    assert [len(frame) for frame in frames] == [8, 8, 8]
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line == "As in the study, all splits hold the same mixtures, and these are noisy."
    own = configuration("speech", "folder", path="a folder")
    with pytest.raises(InputError) as caught:
        csv_speech.list_mixtures(own, folder, layout.SPEECH_LISTS)
    *lines, rest = str(caught.value).split("\nERROR: ")
    assert len(lines) == 10
    assert all(re.fullmatch(f"{folder}/.+: {DIFFERENT}", line) for line in lines)
    assert rest == "and 14 more"


def replace_songs(data, *names):
    """Fills the train folder with copies of one song, under other names."""
    song = data / "music" / "train" / TRAIN
    for name in names:
        shutil.copytree(song, data / "music" / "train" / name)
    for path in (data / "music" / "train").glob("The Easton*"):
        shutil.rmtree(path)


def listed(split):
    """The names of the songs in the list of a split."""
    frame = pd.read_csv(layout.MUSIC_LISTS / f"{split}.csv")
    return [Path(path).parent.name for path in frame.mix_path]


@pytest.mark.parametrize(("count", "validate"), [(2, 1), (10, 1), (19, 1), (20, 2)])
def test_without_validation_tracks_the_last_tenth_by_name_validates(data, count, validate):
    names = [f"{number:02}" for number in range(count)]
    replace_songs(data, *names)
    for name in names[-validate:]:  # two splits must not hold the same audio
        mixture = data / "music" / "train" / name / "mixture.wav"
        samples, rate = soundfile.read(mixture, dtype="int16")
        soundfile.write(mixture, -samples, rate, subtype="PCM_16")
    csv_music.list_songs(
        configuration("music", "folder", path="x"), layout.MUSIC, layout.MUSIC_LISTS
    )
    assert listed("train") == names[:-validate]
    assert listed("valid") == names[-validate:]
    assert listed("test") == [TEST]


def test_one_song_cannot_train_and_validate(data):
    replace_songs(data, "only")
    music = configuration("music", "folder", path="x")
    with pytest.raises(InputError) as caught:
        csv_music.list_songs(music, layout.MUSIC, layout.MUSIC_LISTS)
    assert str(caught.value) == (
        "data/music/train: has only songs to validate on; add songs to train on"
    )


def no_such_song(name):
    remedy = "add it, or change music.validation_tracks"
    return f"data/music/train/{name}: there is no such song; {remedy}"


def test_of_the_excerpts_the_validation_tracks_that_are_there_validate(data):
    replace_songs(data, "A song", "ANiMAL - Rockshow")
    mixture = data / "music" / "train" / "A song" / "mixture.wav"
    samples, rate = soundfile.read(mixture, dtype="int16")
    soundfile.write(mixture, -samples, rate, subtype="PCM_16")
    folders = (layout.MUSIC, layout.MUSIC_LISTS)
    csv_music.list_songs(configuration("music", "musdb18_7s"), *folders)
    assert (listed("train"), listed("valid")) == (["A song"], ["ANiMAL - Rockshow"])
    # The full set needs all of them, the excerpts one.
    missing = no_such_song("Actions - One Minute Smile")
    with pytest.raises(InputError) as caught:
        csv_music.list_songs(configuration("music", "musdb18hq"), *folders)
    assert str(caught.value) == missing
    shutil.rmtree(data / "music" / "train" / "ANiMAL - Rockshow")
    with pytest.raises(InputError) as caught:
        csv_music.list_songs(configuration("music", "musdb18_7s"), *folders)
    assert str(caught.value) == missing


def test_a_missing_validation_track_is_named(data):
    music = MUSIC.model_copy(update={"validation_tracks": ["Nobody - Nothing"]})
    with pytest.raises(InputError) as caught:
        csv_music.list_songs(music, layout.MUSIC, layout.MUSIC_LISTS)
    assert str(caught.value) == no_such_song("Nobody - Nothing")
