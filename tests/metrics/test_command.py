"""The command that scores folders, on real audio, compared with museval and with the formulas."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import soundfile

from metrics.core import command, mixtures, songs
from metrics.core.audio import resample
from metrics.core.measures import measures
from metrics.core.sdr import sdr
from metrics.core.si_snr import si_snr
from tests.conftest import ROOT, TEST_DATA

RATE = 44100
SAMPLES = RATE + 5000  # one frame of BSS Eval, and what is left
STEMS = ("vocals", "drums", "bass", "other")
BSS = ("SDR", "SIR", "SAR", "ISR")
ROUNDING = 1.1e-5  # dB; museval's files have five digits
FIRST, SECOND = "First (live)", "Zweiter, Ö"


class Folders:
    """Folders of references, of estimates and of scores.

    Args:
        root: where they are.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind, target, track=FIRST):
        """The file of a target; `kind` is `references` or `estimates`."""
        return self.root / kind / "test" / track / f"{target}.wav"

    def read(self, kind, target, track=FIRST):
        """The samples of a target, `(samples, channels)`."""
        return soundfile.read(self.path(kind, target, track), always_2d=True)[0]

    def write(self, kind, target, samples, rate=RATE, track=FIRST):
        """Writes the samples of a target as 32-bit floats."""
        path = self.path(kind, target, track)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate, subtype="FLOAT")

    def arguments(self, *options):
        """The arguments of the command."""
        folders = ("references", "estimates", "out")
        paths = [text for name in folders for text in (f"--{name}", str(self.root / name))]
        return ["score", *paths, *options]

    def score(self, *options):
        """Runs the command. Returns scores.csv."""
        command.main(self.arguments(*options))
        return pd.read_csv(self.root / "out" / "scores.csv")

    def fail(self, *options):
        """Runs the command, which must fail and write no scores. Returns the lines about it."""
        with pytest.raises(SystemExit) as end:
            command.main(self.arguments(*options))
        assert not (self.root / "out" / "scores.csv").exists()
        assert not (self.root / "out" / "museval").exists()
        return str(end.value.code).split("\n")

    def frames(self, track=FIRST):
        """By target and metric, the frames in the JSON file of a track."""
        path = self.root / "out" / "museval" / "test" / f"{track}.json"
        return by_target(json.loads(path.read_text(encoding="utf-8")))

    def museval(self, track=FIRST):
        """By target and metric, the frames of a track that museval computes."""
        import museval

        references, estimates = (
            {
                path.stem: soundfile.read(path, always_2d=True)[0]
                for path in sorted((self.root / kind / "test" / track).iterdir())
            }
            for kind in ("references", "estimates")
        )
        # The targets of a track of musdb.
        audio = {name: references[name] for name in STEMS}
        audio["accompaniment"] = sum(audio[name] for name in STEMS[1:])
        song = SimpleNamespace(name=track, subset="test", rate=RATE)
        song.targets = {name: SimpleNamespace(audio=samples) for name, samples in audio.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return by_target(museval.eval_mus_track(song, estimates).scores)


def notes(capsys):
    """The lines on stderr but those of the progress, of which a slow machine has more."""
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("scoring: ") for line in lines)
    return [line for line in lines if not line.startswith("scoring: ")]


def by_target(scores):
    """The frames in a file of museval by target and metric."""
    return {
        target["name"]: {
            metric: [float(frame["metrics"][metric]) for frame in target["frames"]]
            for metric in BSS
        }
        for target in scores["targets"]
    }


def assert_as_museval(folders, track=FIRST):
    """Asserts the same targets and, to museval's rounding, the same numbers."""
    frames, expected = folders.frames(track), folders.museval(track)
    assert set(frames) == set(expected)
    for target, ratios in expected.items():
        for metric, values in ratios.items():
            np.testing.assert_allclose(
                frames[target][metric], values, atol=ROUNDING, err_msg=f"{metric} of {target}"
            )


@pytest.fixture
def folders(tmp_path):
    """Two mono tracks, the channels of the embedded song, and estimates with leakage and noise."""
    result = Folders(tmp_path)
    rng = np.random.default_rng(0)
    (source,) = (TEST_DATA / "data/music/test").iterdir()
    for channel, track in enumerate([FIRST, SECOND]):
        stems = {
            name: soundfile.read(source / f"{name}.wav", frames=SAMPLES)[0][:, channel]
            for name in STEMS
        }
        mixture = sum(stems.values())
        result.write("references", "mixture", mixture, track=track)
        for number, (name, samples) in enumerate(stems.items(), start=1):
            result.write("references", name, samples, track=track)
            estimate = samples + 0.1 * number * mixture + 0.003 * rng.standard_normal(SAMPLES)
            result.write("estimates", name, estimate, track=track)
    return result


def test_music_has_the_scores_of_museval_and_the_measures_of_whole_songs(folders, capsys):
    scores = folders.score()
    assert list(scores) == list(songs.COLUMNS)
    assert list(scores["track"]) == [FIRST] * 4 + [SECOND] * 4
    assert list(scores["target"]) == [*STEMS, *STEMS]
    assert set(scores["frames"]) == {1}
    for track, rows in scores.groupby("track"):
        assert_as_museval(folders, track)
        for target, row in rows.set_index("target").iterrows():
            for metric in BSS:
                (frame,) = folders.frames(track)[target][metric]
                assert row[metric] == pytest.approx(frame, abs=ROUNDING)
        signals = (
            np.stack([folders.read(kind, name, track) for name in STEMS])
            for kind in ("references", "estimates")
        )
        for name, values in measures(*signals)._asdict().items():
            np.testing.assert_allclose(rows[name], values, rtol=0, atol=1e-9, err_msg=name)
    printed = capsys.readouterr()
    head, *lines = printed.out.splitlines()
    assert head.split() == ["target", *BSS, "uSDR", "SI-SDR", "SI-SIR", "SI-SAR"]
    vocals = scores[scores["target"] == "vocals"]
    expected = [*vocals[list(BSS)].median(), *vocals[list(songs.MEASURES)].mean()]
    assert lines[0].split() == ["vocals", *(f"{value:.2f}" for value in expected)]
    assert [line.split()[0] for line in lines[:5]] == [*STEMS, "mean"]
    assert printed.err.splitlines()[-1] == "scoring: 2 of 2 tracks"


def test_museval_reads_what_is_written(folders):
    import museval

    scores = folders.score()
    store = museval.EvalStore()
    store.add_eval_dir(folders.root / "out" / "museval")
    aggregate = store.agg_frames_tracks_scores()
    for target, rows in scores.groupby("target"):
        for metric in BSS:
            assert aggregate[target, metric] == pytest.approx(rows[metric].median(), abs=ROUNDING)


# Awkward inputs that are scored as by museval. Each function changes the first track, and returns
# the lines that are printed about it.


def extra_stem(folders):
    folders.write("estimates", "piano", folders.read("estimates", "other"))
    return ["the estimate of piano is ignored: it has no reference"]


def mixture_among_the_estimates(folders):
    folders.write("estimates", "mixture", folders.read("references", "mixture"))
    return []


def accompaniment(folders):
    stems = [folders.read("estimates", name) for name in STEMS[1:]]
    folders.write("estimates", "accompaniment", sum(stems))
    return []


def accompaniment_with_a_reference(folders):
    stems = [folders.read("references", name) for name in STEMS[1:]]
    folders.write("references", "accompaniment", sum(stems))
    return accompaniment(folders)


def vocals_and_accompaniment_alone(folders):
    accompaniment(folders)
    for name in STEMS[1:]:
        folders.path("estimates", name).unlink()
    return [f"has no estimate of {name}, and is scored without it" for name in STEMS[1:]]


def accompaniment_without_vocals(folders):
    accompaniment(folders)
    folders.path("estimates", "vocals").unlink()
    return ["has no estimate of vocals, and is scored without it"]


def missing_stem(folders):
    folders.path("estimates", "bass").unlink()
    return ["has no estimate of bass, and is scored without it"]


def longer(folders):
    for name in STEMS:
        samples = folders.read("estimates", name)
        folders.write("estimates", name, np.concatenate([samples, samples[:13]]))
    problem = "is 13 samples longer than its reference, and cut"
    return [f"the estimate of {name} {problem}" for name in STEMS]


def shorter(folders):
    for name in STEMS:
        folders.write("estimates", name, folders.read("estimates", name)[:-1])
    problem = "is 1 sample shorter than its reference, and padded with silence"
    return [f"the estimate of {name} {problem}" for name in STEMS]


def flac(folders):
    for kind in ("references", "estimates"):
        for name in STEMS:
            path = folders.path(kind, name)
            samples = folders.read(kind, name)
            soundfile.write(path.with_suffix(".flac"), samples, RATE, subtype="PCM_24")
            path.unlink()
    return []


def doubles(folders):
    for name in STEMS:
        samples = folders.read("estimates", name) * (1 + 1e-9)  # no float32 number
        soundfile.write(folders.path("estimates", name), samples, RATE, subtype="DOUBLE")
    return []


def silent_second_of_an_estimate(folders):
    samples = folders.read("estimates", "drums")
    samples[:RATE] = 0
    folders.write("estimates", "drums", samples)
    return []


def silent_second_of_a_reference(folders):
    samples = folders.read("references", "drums")
    samples[:RATE] = 0
    folders.write("references", "drums", samples)
    return []


def stereo(folders):
    for kind in ("references", "estimates"):
        for name in STEMS:
            channels = [folders.read(kind, name, track) for track in (FIRST, SECOND)]
            folders.write(kind, name, np.hstack(channels))
    return []


@pytest.mark.parametrize(
    "change",
    [
        extra_stem,
        mixture_among_the_estimates,
        accompaniment,
        accompaniment_with_a_reference,
        vocals_and_accompaniment_alone,
        accompaniment_without_vocals,
        missing_stem,
        longer,
        shorter,
        flac,
        doubles,
        silent_second_of_an_estimate,
        silent_second_of_a_reference,
        stereo,
    ],
)
def test_an_awkward_input_is_scored_as_by_museval_and_said(folders, capsys, change):
    lines = change(folders)
    folders.score()
    assert_as_museval(folders)
    assert notes(capsys) == [f"{FIRST}: {line}" for line in lines]


@pytest.mark.parametrize("kind", ["references", "estimates"])
def test_a_silent_stem_leaves_a_track_without_bss_eval_and_is_counted(folders, capsys, kind):
    folders.write(kind, "drums", 0 * folders.read(kind, "drums"))
    scores = folders.score()
    with pytest.raises(ValueError, match="silent"):
        folders.museval()
    first, second = (scores[scores["track"] == track] for track in (FIRST, SECOND))
    assert first[list(BSS)].isna().all(axis=None)
    assert list(first["nan_frames"]) == [1] * 4
    assert list(first["si_sdr"].isna()) == [False, True, False, False]
    assert np.isfinite(first["usdr"]).all()
    assert list(second["nan_frames"]) == [0] * 4
    last = capsys.readouterr().out.splitlines()[-2]
    assert last.startswith("Left out, without a finite SDR (silence, a perfect estimate, NaN): ")
    assert last.endswith("): 4 of 8 targets, 4 of 8 frames.")


# Awkward inputs that are refused. Each function changes the first track, and returns the file that
# is named and what is said about it.


def single_stem(folders):
    for name in STEMS[1:]:
        folders.path("estimates", name).unlink()
    problem = f"{FIRST} has vocals, but BSS Eval needs two or more of"
    remedy = "add estimates, for instance of the accompaniment"
    line = f"{problem} vocals, drums, bass, other, accompaniment; {remedy}"
    return folders.path("estimates", "vocals").parent, line


def mono_for_stereo(folders):
    for name in STEMS:
        folders.write("references", name, folders.read("references", name)[:, [0, 0]])
    path, reference = folders.path("estimates", "vocals"), folders.path("references", "vocals")
    return path, f"has 1 channel, but {reference} has 2; make all files mono, or all stereo"


def other_rate(folders):
    folders.write("estimates", "bass", folders.read("estimates", "bass"), rate=48000)
    reference = folders.path("references", "vocals")
    problem = f"has 48000 Hz, but {reference} has 44100 Hz; --sample-rate 44100 converts it"
    return folders.path("estimates", "bass"), problem


def reference_of_other_length(folders):
    folders.write("references", "other", folders.read("references", "other")[:-5])
    problem = f"has {SAMPLES - 5} samples, but {folders.path('references', 'vocals')} has {SAMPLES}"
    return folders.path("references", "other"), f"{problem}; references must be equally long"


def no_audio(folders):
    folders.path("estimates", "drums").write_bytes(b"no audio at all")
    return folders.path("estimates", "drums"), "cannot be read as audio (Format not recognised)"


def no_samples(folders):
    folders.write("estimates", "drums", np.zeros(0))
    return folders.path("estimates", "drums"), "has no samples"


def two_files_of_a_target(folders):
    path = folders.path("estimates", "drums")
    soundfile.write(path.with_suffix(".flac"), folders.read("estimates", "drums"), RATE)
    return path, "stands for the same as drums.flac; remove one of the two"


def folder_for_a_file(folders):
    path = folders.path("estimates", "drums")
    path.unlink()
    path.mkdir()
    return path, "cannot be read (is a directory)"


def link_to_nothing(folders):
    path = folders.path("references", "drums")
    path.unlink()
    path.symlink_to("nothing.wav")
    return path, "cannot be read (no such file or directory)"


def failing_disk(folders):
    path = folders.path("estimates", "drums")
    path.unlink()
    path.symlink_to("/proc/self/mem")  # can be opened, and not be read from its beginning
    return path, "cannot be read (input/output error)"


def mp3_estimate(folders):
    path = folders.path("estimates", "drums").with_suffix(".MP3")
    folders.path("estimates", "drums").rename(path)
    return path, "is neither WAV nor FLAC; convert it to one of them"


def mp3_reference_that_is_part_of_the_accompaniment(folders):
    vocals_and_accompaniment_alone(folders)
    path = folders.path("references", "drums").with_suffix(".m4a")
    folders.path("references", "drums").rename(path)
    return path, "is neither WAV nor FLAC; convert it to one of them"


def nothing_but_another_format(folders):
    for name in STEMS:
        folders.path("estimates", name).unlink()
    path = folders.path("estimates", "cover").with_suffix(".ogg")
    path.touch()
    return path, "is neither WAV nor FLAC; convert it to one of them"


@pytest.mark.parametrize(
    "change",
    [
        single_stem,
        mono_for_stereo,
        other_rate,
        reference_of_other_length,
        no_audio,
        no_samples,
        two_files_of_a_target,
        folder_for_a_file,
        link_to_nothing,
        pytest.param(
            failing_disk,
            marks=pytest.mark.skipif(
                not Path("/proc/self/mem").exists(), reason="needs Linux's /proc"
            ),
        ),
        mp3_estimate,
        mp3_reference_that_is_part_of_the_accompaniment,
        nothing_but_another_format,
    ],
)
def test_an_awkward_input_that_is_refused_is_one_line(folders, change):
    path, problem = change(folders)
    line, kept = folders.fail()
    assert line == f"ERROR: {path}: {problem}"
    assert kept == "ERROR: nothing is written; 1 of 2 tracks are kept for the next run"


def test_a_name_that_is_not_utf8_is_one_line(folders):
    for kind in ("references", "estimates"):
        path = folders.root / kind / "test" / os.fsdecode(b"Mot\xf6r")
        try:
            (folders.root / kind / "test" / FIRST).rename(path)
        except OSError:
            pytest.skip("the file system has no other names than UTF-8")
    named = folders.root / "references/test" / os.fsdecode(b"Mot\xf6r")
    line, kept = folders.fail()
    assert line == f"ERROR: {named}: has a name that is not UTF-8; rename it"
    assert kept == "ERROR: nothing is written; 1 of 2 tracks are kept for the next run"


def test_an_audio_file_in_another_format_is_no_error_where_it_is_not_needed(folders, capsys):
    for kind, name in (("estimates", "drums"), ("estimates", "mixture"), ("references", "cover")):
        folders.path(kind, name).with_suffix(".mp3").touch()
    folders.score()
    assert notes(capsys) == []


def test_all_audio_can_be_converted_to_one_rate(folders):
    expected = folders.score().set_index(["track", "target"])
    for name in STEMS:
        samples = folders.read("estimates", name)
        # By the Fourier transform of the whole signal, which no code of the command does.
        samples = scipy.signal.resample(samples, round(SAMPLES * 48000 / RATE))
        folders.write("estimates", name, samples, rate=48000)
    scores = folders.score("--sample-rate", str(RATE)).set_index(["track", "target"])
    for metric in ("SDR", "usdr", "si_sdr", "si_sir"):
        np.testing.assert_allclose(scores[metric], expected[metric], atol=0.05, err_msg=metric)


@pytest.mark.parametrize(("rate", "new_rate"), [(48000, 44100), (44100, 48000), (16000, 8000)])
def test_a_conversion_keeps_what_is_below_half_of_both_rates_and_nothing_else(rate, new_rate):
    half = min(rate, new_rate) / 2
    for frequency in (0.01 * half, 0.5 * half, 0.93 * half, 1.1 * half):
        if frequency < rate / 2:
            tone = np.sin(2 * np.pi * frequency * np.arange(rate) / rate)[:, None]
            converted = resample(tone, rate, new_rate)
            assert len(converted) == new_rate
            kept = frequency < half
            expected = kept * np.sin(2 * np.pi * frequency * np.arange(new_rate) / new_rate)
            inner = slice(new_rate // 10, -new_rate // 10)
            np.testing.assert_allclose(converted[inner, 0], expected[inner], atol=1e-4)


def test_tracks_that_only_one_folder_has_are_named_and_not_scored(folders, capsys):
    (folders.root / "estimates/test" / FIRST).rename(folders.root / "estimates/test/Third")
    assert set(folders.score()["track"]) == {SECOND}
    assert notes(capsys) == [
        f"not scored, for lack of estimates: {FIRST}",
        "not scored, for lack of references: Third",
    ]


def test_only_what_has_changed_is_scored_again(folders, capsys):
    first = folders.score()
    output = {path: path.read_bytes() for path in outputs(folders)}
    (folders.root / "out/scores.csv").unlink()
    capsys.readouterr()
    folders.score("--workers", "1")
    assert {path: path.read_bytes() for path in outputs(folders)} == output
    assert notes(capsys) == ["2 of 2 tracks were scored before"]

    folders.write("estimates", "bass", 0.5 * folders.read("estimates", "bass"))
    (folders.root / "estimates/test" / SECOND).rename(folders.root / "Second")
    changed = folders.score()
    assert set(changed["track"]) == {FIRST}
    assert changed["usdr"][2] != first["usdr"][2]
    assert notes(capsys) == [f"not scored, for lack of estimates: {SECOND}"]
    assert len(outputs(folders)) == 2  # what was written about the second track is gone
    (folders.root / "Second").rename(folders.root / "estimates/test" / SECOND)
    folders.score()
    assert notes(capsys) == ["1 of 2 tracks were scored before"]


def outputs(folders):
    """The files that the command has written, without what it keeps and notes."""
    paths = (folders.root / "out").rglob("*")
    return [path for path in paths if path.is_file() and not is_hidden(path)]


def is_hidden(path):
    """Whether a file is for the command alone."""
    return path.name.startswith(".") or path.parent.name == ".scored"


def test_what_was_scored_before_an_error_is_kept(folders, capsys):
    path = folders.path("estimates", "drums")
    content = path.read_bytes()
    path.write_bytes(b"RIFF")
    line, _ = folders.fail()
    assert line.startswith(f"ERROR: {path}: ")
    path.write_bytes(content)
    capsys.readouterr()
    folders.score()
    assert notes(capsys) == ["1 of 2 tracks were scored before"]


def test_the_estimates_need_no_folder_of_the_subset(folders):
    expected = folders.score()
    for kind in ("references", "estimates"):
        (folders.root / kind / "test").rename(folders.root / "moved")
        (folders.root / kind).rmdir()
        (folders.root / "moved").rename(folders.root / kind)
        pd.testing.assert_frame_equal(folders.score(), expected)


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("{track}_{target}.wav", []),
        ("{target} of {track}.flac", ["--pattern", "{target} of {track}.wav"]),
        ("{target}/{track}.wav", ["--pattern", "{target}/{track}.wav"]),
    ],
)
def test_files_after_a_pattern_have_the_same_scores(folders, pattern, options):
    expected = folders.score()
    for kind in ("references", "estimates"):
        for track in (FIRST, SECOND):
            for target in STEMS:
                path = folders.root / kind / pattern.format(track=f"my_{track}", target=target)
                path.parent.mkdir(parents=True, exist_ok=True)
                samples = folders.read(kind, target, track)
                subtype = "PCM_24" if path.suffix == ".flac" else "FLOAT"
                soundfile.write(path, samples, RATE, subtype=subtype)
        (folders.root / kind / "test").rename(folders.root / f"unused {kind}")
    scores = folders.score("--layout", "flat", *options)
    assert set(scores["track"]) == {f"my_{FIRST}", f"my_{SECOND}"}
    expected["track"] = [f"my_{track}" for track in expected["track"]]
    pd.testing.assert_frame_equal(scores, expected, rtol=0, atol=1e-3)


def test_estimates_may_follow_a_pattern_of_their_own(folders):
    expected = folders.score()
    (folders.root / "estimates/test").rename(folders.root / "estimates/htdemucs")
    scores = folders.score("--estimates-pattern", "htdemucs/{track}/{target}.wav")
    pd.testing.assert_frame_equal(scores, expected)
    for kind, pattern in (("references", "{}_{}.wav"), ("estimates", "{} - {} estimate.wav")):
        for source in sorted((folders.root / kind).glob("*/*/*.wav")):
            source.rename(folders.root / kind / pattern.format(source.parent.name, source.stem))
    own = "{track} - {target} estimate.wav"
    scores = folders.score("--layout", "flat", "--estimates-pattern", own)
    pd.testing.assert_frame_equal(scores, expected)


def test_no_vocals_are_the_accompaniment_unless_that_is_there(folders, capsys):
    lines = vocals_and_accompaniment_alone(folders)
    expected = folders.score()
    path = folders.path("estimates", "accompaniment")
    no_vocals = path.rename(path.with_name("no_vocals.wav"))
    capsys.readouterr()
    pd.testing.assert_frame_equal(folders.score(), expected)
    shutil.copy(no_vocals, path)
    pd.testing.assert_frame_equal(folders.score(), expected)
    ignored = f"{FIRST}: the estimate of no_vocals is ignored: it has no reference"
    lines = [f"{FIRST}: {line}" for line in lines]
    first, second = "2 of 2 tracks were scored before", "1 of 2 tracks were scored before"
    assert notes(capsys) == [first, *lines, second, *lines, ignored]


@pytest.fixture
def speech(tmp_path):
    """Folders in WSJ0-mix's layout, with estimates of which the second mixture's are swapped."""
    return make_speech(tmp_path)


def make_speech(root):
    """Makes such folders."""
    folders = Folders(root)
    (source,) = (TEST_DATA / "data/speech/mixtures").glob("*/min/tt")
    folders.root.joinpath("references").symlink_to(source)
    for index, path in enumerate(sorted((source / "mix").iterdir())):
        mixture, rate = soundfile.read(path)
        for number in (1, 2):
            samples, _ = soundfile.read(source / f"s{number}" / path.name)
            estimate = folders.root / "estimates" / f"s{(number + index + 1) % 2 + 1}" / path.name
            estimate.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(estimate, samples + 0.1 * number * mixture, rate, subtype="FLOAT")
    return folders


WSJ0MIX = ("--layout", "wsj0mix")


def test_speech_has_the_scores_of_the_best_permutation_and_their_improvements(speech, capsys):
    scores = speech.score(*WSJ0MIX)
    assert list(scores) == list(mixtures.COLUMNS)
    assert list(scores["estimate"]) == ["s1", "s2", "s2", "s1"]
    for row in scores.itertuples():
        reference, mixture = (
            soundfile.read(speech.root / "references" / name / f"{row.mixture}.wav")[0]
            for name in (row.speaker, "mix")
        )
        path = speech.root / "estimates" / row.estimate / f"{row.mixture}.wav"
        estimate, _ = soundfile.read(path)
        expected = [float(si_snr(reference, estimate)), *sdr(reference, [estimate])]
        of_mixture = [float(si_snr(reference, mixture)), *sdr(reference, [mixture])]
        np.testing.assert_allclose([row.si_snr, row.sdr], expected)
        gains = [row.si_snr_improvement, row.sdr_improvement]
        np.testing.assert_allclose(gains, np.subtract(expected, of_mixture))
        assert min(gains) > 5
    head, means, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["SI-SNR", "SDR", "SI-SNRi", "SDRi"]
    columns = scores[["si_snr", "sdr", "si_snr_improvement", "sdr_improvement"]]
    assert means.split() == ["mean", *(f"{value:.2f}" for value in columns.mean())]
    assert [path.name for path in outputs(speech)] == ["scores.csv"]


def test_speech_without_its_mixtures_has_no_improvements(speech, capsys):
    expected = speech.score(*WSJ0MIX)
    source = (speech.root / "references").resolve()
    (speech.root / "references").unlink()
    for name in ("s1", "s2"):
        (speech.root / "references" / name).parent.mkdir(exist_ok=True)
        (speech.root / "references" / name).symlink_to(source / name)
    capsys.readouterr()
    scores = speech.score(*WSJ0MIX)
    pd.testing.assert_frame_equal(scores.iloc[:, :5], expected.iloc[:, :5])
    assert scores.iloc[:, 5:].isna().all(axis=None)
    assert capsys.readouterr().out.splitlines()[0].split() == ["SI-SNR", "SDR"]


def test_awkward_speech_is_scored_and_said_or_one_line(speech, capsys):
    first, second = sorted((speech.root / "estimates/s1").iterdir())
    samples, rate = soundfile.read(first)
    soundfile.write(first, samples[:-3], rate, subtype="FLOAT")
    speech.score(*WSJ0MIX)
    line = "the estimate of s1 is 3 samples shorter than its reference, and padded with silence"
    assert notes(capsys) == [f"{first.stem}: {line}"]
    (speech.root / "out/scores.csv").unlink()

    soundfile.write(first, np.stack([samples, samples], axis=1), rate, subtype="FLOAT")
    mono = (speech.root / "references/s1" / first.name, "make all files mono, or all stereo")
    line, kept = speech.fail(*WSJ0MIX)
    assert line == f"ERROR: {first}: has 2 channels, but {mono[0]} has 1; {mono[1]}"
    assert kept == "ERROR: nothing is written; 1 of 2 mixtures are kept for the next run"

    second.unlink()
    missing = f"ERROR: {second}: there is no such file"
    assert speech.fail(*WSJ0MIX) == [missing, line, "ERROR: nothing is written"]
    soundfile.write(first, samples, rate, subtype="FLOAT")
    assert speech.fail(*WSJ0MIX) == [missing, kept]
    (speech.root / "estimates/s2").rename(speech.root / "elsewhere")
    line = f"ERROR: {speech.root / 'estimates'}: has s1, but the references have s1, s2"
    assert speech.fail(*WSJ0MIX) == [line]


def test_estimates_of_speech_may_follow_a_pattern(speech):
    expected = speech.score(*WSJ0MIX)
    folder = speech.root / "estimates"
    for path in sorted(folder.glob("s*/*")):
        path.rename(folder / f"{path.stem}_est{path.parent.name[1:]}.wav")
    for name in ("s1", "s2"):
        (folder / name).rmdir()
    shutil.copy(speech.root / "references/mix" / path.name, folder / f"{path.stem}_estmix.wav")
    (speech.root / "out/scores.csv").unlink()
    problem = "has no folder s1 with WAV or FLAC files"
    remedy = "--estimates-pattern says how else the files may lie"
    assert speech.fail(*WSJ0MIX) == [f"ERROR: {folder}: {problem}; {remedy}"]

    options = [*WSJ0MIX, "--estimates-pattern", "{track}_est{target}.wav"]
    scores = speech.score(*options)
    expected["estimate"] = [int(name[1:]) for name in expected["estimate"]]
    pd.testing.assert_frame_equal(scores, expected)

    (speech.root / "out/scores.csv").unlink()
    (folder / f"{path.stem}_est2.wav").unlink()
    problem = f"{path.stem} has 2 speakers, but as estimates 1"
    remedy = "--estimates-pattern must find one for each speaker"
    kept = "nothing is written; 1 of 2 mixtures are kept for the next run"
    line = f"ERROR: {folder}: {problem}; {remedy}"
    assert speech.fail(*options) == [line, f"ERROR: {kept}"]


def test_a_mixture_without_its_file_is_one_line(speech):
    source = (speech.root / "references").resolve()
    (speech.root / "references").unlink()
    shutil.copytree(source, speech.root / "references")
    first, second = sorted((speech.root / "references/mix").iterdir())
    first.unlink()
    mp3 = (speech.root / "references/s2" / second.name).with_suffix(".mp3")
    mp3.with_suffix(".wav").rename(mp3)
    assert speech.fail(*WSJ0MIX) == [
        f"ERROR: {first}: there is no such file",
        f"ERROR: {mp3}: is neither WAV nor FLAC; convert it to one of them",
        "ERROR: nothing is written",
    ]


# Each returns options, and the message about what is wrong.


def missing_folder(folders):
    (folders.root / "estimates").rename(folders.root / "elsewhere")
    return [], f"{folders.root / 'estimates'}: there is no such folder"


def empty_folder(folders):
    missing_folder(folders)
    (folders.root / "estimates").mkdir()
    problem = "has no folder with WAV or FLAC files for each track"
    remedy = "--estimates-pattern says how else the files may lie"
    return [], f"{folders.root / 'estimates'}: {problem}; {remedy}"


def undecoded_stems(folders):
    empty_folder(folders)
    (folders.root / "estimates/A - B.stem.mp4").touch()
    problem = "has no folder with WAV or FLAC files for each track"
    remedy = "convert its .stem.mp4 files first, for instance with musdbconvert"
    return [], f"{folders.root / 'estimates'}: {problem}; {remedy}"


def no_common_track(folders):
    for track in (FIRST, SECOND):
        folder = folders.root / "estimates/test"
        (folder / track).rename(folder / f"{track} estimated")
    estimates, references = folders.root / "estimates", folders.root / "references"
    problem = f"has nothing that {references} has, such as {FIRST}"
    remedy = f"it has {FIRST} estimated; both folders need the same names"
    return [], f"{estimates}: {problem}; {remedy}"


def no_such_pattern(folders):
    problem = "has no WAV or FLAC files like {track}_{target}.wav"
    remedy = "--pattern says how else the files may lie"
    return ["--layout", "flat"], f"{folders.root / 'references'}: {problem}; {remedy}"


def pattern_without_target(folders):
    problem = "{track}.wav must have {track} and {target} once each"
    return ["--layout", "flat", "--pattern", "{track}.wav"], f"--pattern: {problem}"


def other_layout(folders):
    remedy = "--layout says how else the files may lie"
    problem = "has no folder s1 with WAV or FLAC files"
    return [*WSJ0MIX], f"{folders.root / 'references'}: {problem}; {remedy}"


def folder_of_a_model(folders):
    moved = folders.root / "moved"
    (folders.root / "estimates").rename(moved)
    inner = folders.root / "estimates/htdemucs"
    inner.parent.mkdir()
    moved.rename(inner)
    problem = "has no folder with WAV or FLAC files for each track"
    return [], f"{inner.parent}: {problem}; {inner} has: name that one"


def folders_of_two_models(folders):
    _, message = folder_of_a_model(folders)
    shutil.copytree(folders.root / "estimates/htdemucs", folders.root / "estimates/mdx")
    problem = message.split("; ")[0]
    return [], f"{problem}; --estimates-pattern says how else the files may lie"


def estimates_pattern_without_track(folders):
    problem = "{target}.wav must have {track} and {target} once each"
    return ["--estimates-pattern", "{target}.wav"], f"--estimates-pattern: {problem}"


def out_is_a_file(folders):
    (folders.root / "out").touch()
    return [], f"{folders.root / 'out' / '.scored'}: not a directory"


@pytest.mark.parametrize(
    "change",
    [
        missing_folder,
        empty_folder,
        undecoded_stems,
        no_common_track,
        no_such_pattern,
        pattern_without_target,
        other_layout,
        folder_of_a_model,
        folders_of_two_models,
        estimates_pattern_without_track,
        out_is_a_file,
    ],
)
def test_wrong_folders_are_one_line(folders, change):
    options, message = change(folders)
    assert folders.fail(*options) == [f"ERROR: {message}"]


def of_another_method(folders):
    path = folders.root / "out/museval/othermodel/test/x.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    return path


def of_another_track(folders):
    folders.score()
    path = folders.root / "out/museval/test/mine.json"
    path.write_text("{}")
    return path


def written_over(folders):
    folders.score()
    path = folders.root / f"out/museval/test/{FIRST}.json"
    path.write_text("{}")
    return path


def link_to_a_folder(folders):
    folders.score()
    path = folders.root / "out/museval/train"
    path.symlink_to(folders.root / "references", target_is_directory=True)
    return path


@pytest.mark.parametrize(
    "add", [of_another_method, of_another_track, written_over, link_to_a_folder]
)
def test_a_folder_with_files_of_others_is_not_replaced(folders, capsys, add):
    path = add(folders)
    before = {path: path.read_bytes() for path in outputs(folders)}
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        folders.score()
    museval = folders.root / "out/museval"
    problem = f"holds {path.relative_to(museval)}, which this command did not write"
    remedy = "move it away, or name another folder as --out"
    assert end.value.code == f"ERROR: {museval}: {problem}; {remedy}"
    assert "scoring" not in capsys.readouterr().err
    assert path.exists()
    assert {path: path.read_bytes() for path in outputs(folders)} == before


@pytest.mark.parametrize("make", ["link", "file"])
def test_museval_that_is_no_folder_is_refused_before_anything_is_scored(folders, capsys, make):
    folders.score()
    museval, elsewhere = folders.root / "out/museval", folders.root / "elsewhere"
    museval.rename(elsewhere)
    if make == "link":
        museval.symlink_to(elsewhere, target_is_directory=True)
    else:
        museval.touch()
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        folders.score()
    problem = f"is a {make}, but the scores need a folder there"
    remedy = "move it away, or name another folder as --out"
    assert end.value.code == f"ERROR: {museval}: {problem}; {remedy}"
    assert "scoring" not in capsys.readouterr().err
    assert (folders.root / "out/scores.csv").is_file()
    assert len(list(elsewhere.glob("test/*.json"))) == 2


def test_the_earlier_scores_stay_as_they_are_if_the_new_ones_cannot_be_written(folders):
    folders.score()
    before = {path: path.read_bytes() for path in outputs(folders)}
    # A name that a folder may have, but not with .json after it.
    name = "n" * 252
    for kind in ("references", "estimates"):
        (folders.root / kind / "test" / SECOND).rename(folders.root / kind / "test" / name)
    with pytest.raises(SystemExit) as end:
        folders.score()
    path = folders.root / f"out/museval/test/{name}.json"
    assert end.value.code == f"ERROR: {path}: file name too long"
    assert {path: path.read_bytes() for path in outputs(folders)} == before
    left = {path.name for path in (folders.root / "out").iterdir()}
    assert left == {".scored", "museval", "scores.csv"}


def test_a_table_that_cannot_be_replaced_leaves_the_frames_as_they_are(folders):
    folders.score()
    table = folders.root / "out/scores.csv"
    table.unlink()
    table.mkdir()
    before = {path: path.read_bytes() for path in outputs(folders)}
    with pytest.raises(SystemExit) as end:
        folders.score()
    assert end.value.code == f"ERROR: {table}: is a directory"
    assert {path: path.read_bytes() for path in outputs(folders)} == before


def test_scores_of_speech_take_the_place_of_those_of_music(folders):
    folders.score()
    for kind in ("references", "estimates"):
        (folders.root / kind).rename(folders.root / f"{kind} of music")
    make_speech(folders.root).score(*WSJ0MIX)
    assert {path.name for path in (folders.root / "out").iterdir()} == {".scored", "scores.csv"}


def test_scores_of_speech_leave_files_of_others_as_they_are(speech):
    other = speech.root / "out/museval/test/x.json"
    other.parent.mkdir(parents=True)
    other.touch()
    speech.score(*WSJ0MIX)
    assert other.is_file()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_scores_are_written_also_if_nobody_reads_what_is_printed(folders, stream):
    reading, writing = os.pipe()
    os.close(reading)
    result = run_command(folders, **{stream: writing})
    os.close(writing)
    assert result.returncode == 0
    assert (result.stderr or "").splitlines() in ([], ["scoring: 2 of 2 tracks"])
    assert (result.stdout or "Written: ").splitlines()[-1].startswith("Written: ")
    assert len(outputs(folders)) == 3


@pytest.mark.parametrize("descriptor", [1, 2])
def test_the_scores_are_written_also_without_a_stream(folders, descriptor):
    shell = ["sh", "-c", f'exec "$@" {descriptor}>&-', "sh", sys.executable, "-m", "metrics.core"]
    result = subprocess.run([*shell, *folders.arguments()], cwd=ROOT, capture_output=True)
    assert result.returncode == 0, result.stderr
    assert len(outputs(folders)) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_what_cannot_be_printed_is_one_line(folders):
    with open("/dev/full", "w") as full:
        result = run_command(folders, stdout=full)
    assert result.returncode == 1
    assert result.stderr.splitlines()[1:] == ["ERROR: <stdout>: no space left on device"]
    assert len(outputs(folders)) == 3


def run_command(folders, **streams):
    """Runs the command in a process of its own, whose streams are captured if not given."""
    return subprocess.run(
        [sys.executable, "-m", "metrics.core", *folders.arguments()],
        cwd=ROOT,
        text=True,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pattern", "{target}_{track}.wav"], "--pattern needs --layout flat"),
        (["--workers", "0"], "argument --workers: 0 is not a positive whole number"),
        (
            ["--sample-rate", "44.1k"],
            "argument --sample-rate: 44.1k is not a positive whole number",
        ),
        (["--window", "1"], "unrecognized arguments: --window 1"),
    ],
)
def test_wrong_arguments_are_one_line(folders, capsys, options, message):
    with pytest.raises(SystemExit) as end:
        command.main(folders.arguments(*options))
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert line.startswith("ERROR: separation-scores")


def test_without_a_command_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit) as end:
        command.main([])
    assert end.value.code == 2
    line = "ERROR: separation-scores: name a command: score; --help lists the options\n"
    assert capsys.readouterr() == ("", line)


def test_ctrl_c_ends_the_command_with_130(folders, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "score_all", interrupt)
    with pytest.raises(SystemExit) as end:
        folders.score()
    assert end.value.code == 130


def test_the_module_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "metrics.core", "score", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("usage: separation-scores score ")
    assert "[test/]TRACK/vocals.wav" in result.stdout
