"""What is offered to museval's users, side by side with museval itself."""

import itertools
import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import museval as theirs
import numpy as np
import pandas as pd
import pytest
import soundfile

from metrics.core import InputError
from metrics.core import museval as ours
from metrics.core.museval import cli

RATE = 4000
WINDOWS = [(1000, 500), (900.5, 333.3), (np.inf, np.inf), (4000, 100)]
METRICS = ("SDR", "ISR", "SIR", "SAR")


@pytest.fixture
def stems():
    """Three stereo references of noise and their estimates, in another order."""
    rng = np.random.default_rng(0)
    references = rng.standard_normal((3, 3000, 2))
    noise = 0.1 * rng.standard_normal(references.shape)
    return references, (references + 0.3 * references[::-1] + noise)[[1, 2, 0]]


@pytest.fixture
def track():
    """A track of four mono stems and their sum without the vocals, with estimates of all of them.
    One second of the bass is silent."""
    rng = np.random.default_rng(1)
    names = ["vocals", "drums", "bass", "other"]
    audio = dict(zip(names, 0.1 * rng.standard_normal((4, 3 * RATE, 1)), strict=True))
    audio["bass"][RATE : 2 * RATE] = 0
    audio["accompaniment"] = audio["drums"] + audio["bass"] + audio["other"]
    mixture = audio["vocals"] + audio["accompaniment"]
    targets = {name: SimpleNamespace(audio=samples) for name, samples in audio.items()}
    track = SimpleNamespace(name="Zweiter, Ö", subset="test", rate=RATE, targets=targets)
    noise = 0.01 * rng.standard_normal(mixture.shape)
    return track, {name: samples + 0.2 * mixture + noise for name, samples in audio.items()}


def assert_same(scores, expected):
    """Asserts the same shapes and numbers, to 1e-6 dB, and NaN in the same places."""
    for values, expected_values in zip(scores, expected, strict=True):
        assert values.shape == expected_values.shape
        np.testing.assert_allclose(values, expected_values, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("permutation", "framewise", "sources"), list(itertools.product([False, True], repeat=3))
)
def test_bss_eval_returns_what_musevals_does(stems, permutation, framewise, sources):
    for window, hop in WINDOWS:
        arguments = (*stems, window, hop, permutation, 24, framewise, sources)
        scores = ours.bss_eval(*arguments)
        assert_same(scores, theirs.metrics.bss_eval(*arguments))
        if permutation:
            assert (scores[4] == np.array([[2], [0], [1]])).all()


@pytest.mark.parametrize("framewise", [False, True])
def test_a_silent_window_has_no_scores(stems, framewise):
    references, estimates = stems
    references[1, 1000:2000] = 0
    arguments = (references, estimates, 1000, 1000, False, 24, framewise)
    scores = ours.bss_eval(*arguments)
    assert np.isnan(scores[0]).tolist() == [[False, True, False]] * 3
    assert_same(scores, theirs.metrics.bss_eval(*arguments))


def test_the_order_of_the_estimates_is_that_of_the_windows_with_scores(stems):
    """museval takes the mean over all windows: it is NaN, and the estimates stay as they are."""
    references, estimates = stems
    references[1, 1000:2000] = 0
    scores = ours.bss_eval(references, estimates, 1000, 1000, True, 24)
    assert scores[4].tolist() == [[2], [0], [1]]
    in_order = ours.bss_eval(references, estimates[[2, 0, 1]], 1000, 1000, False, 24)
    assert_same(scores[:4], in_order[:4])


@pytest.mark.parametrize(
    "name",
    [
        "bss_eval_sources",
        "bss_eval_images",
        "bss_eval_sources_framewise",
        "bss_eval_images_framewise",
    ],
)
def test_the_functions_of_version_3_take_mono_signals_without_an_axis_of_channels(stems, name):
    signals = [sources[:2, :, 0] for sources in stems]
    scores = getattr(ours.metrics, name)(*signals)
    assert_same(scores, getattr(theirs.metrics, name)(*signals))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r, e: (r, e[:2]), "the shapes must be the same"),
        (lambda r, e: (r[None], e[None]), "at most 3 axes"),
        (lambda r, e: (0 * r, e), "one reference is silent throughout"),
        (lambda r, e: (r, np.stack([e[0], e[1], 0 * e[2]])), "one estimate is silent throughout"),
        (lambda r, e: (r, np.stack([e[..., 0], -e[..., 0]], axis=2)), "one estimate is silent"),
        (lambda r, e: (np.ones((101, 5, 1)), np.ones((101, 5, 1))), "at most 100 sources"),
    ],
)
def test_what_museval_refuses_is_refused(stems, spoil, words):
    signals = spoil(*stems)
    with pytest.raises(ValueError, match=words):
        ours.bss_eval(*signals)
    with pytest.raises(ValueError):
        theirs.metrics.bss_eval(*signals)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"window": 0}, "window 0, hop 66150: both are numbers of samples"),
        ({"hop": -1}, "hop -1"),
        ({"filters_len": 4097}, "filters of 4097 taps: they can have 1 to 4096"),
    ],
)
def test_an_argument_out_of_range_is_refused(stems, arguments, words):
    with pytest.raises(ValueError, match=words):
        ours.bss_eval(*stems, **arguments)


def test_nothing_has_no_scores():
    with pytest.warns(UserWarning, match="there are no scores"):
        scores = ours.bss_eval(np.array([]), np.array([]))
    assert [values.shape for values in scores] == [(0,)] * 5


@pytest.mark.parametrize("mode", ["v4", "v3"])
@pytest.mark.parametrize("difference", [-10, 0, 10])
def test_evaluate_returns_what_musevals_does(stems, mode, difference):
    references, estimates = stems
    references, estimates = references[:2, : 2900 + difference, :1], estimates[:2, :2900, :1]
    arguments = (list(references), list(estimates), 1500, 1400, mode)
    scores = ours.evaluate(*arguments)
    assert scores[0].shape == (2, 2 if difference >= 0 else 1)
    assert_same(scores, theirs.evaluate(*arguments))


def test_without_padding_lengths_must_be_the_same(stems):
    references, estimates = stems
    with pytest.raises(ValueError, match="the shapes must be the same"):
        ours.evaluate(references, estimates[:, :-1], padding=False)


@pytest.mark.parametrize(
    ("references", "mode", "message"),
    [
        (np.ones((2, 9, 1)), "v2", "mode: 'v2' is neither v4 nor v3"),
        ([np.ones((9, 1)), np.ones((8, 1))], "v4", "references: have different shapes: (8, 1), "),
        ([], "v4", "references: there are none"),
    ],
)
def test_bad_input_of_evaluate_is_one_line(references, mode, message):
    with pytest.raises(InputError) as caught:
        ours.evaluate(references, np.ones((2, 9, 1)), mode=mode)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def assert_same_store(store, expected):
    """Asserts the same scores in two stores of a track, but for the rounding to 1e-5 dB."""
    table, expected_table = store.df, expected.df
    pd.testing.assert_frame_equal(table, expected_table, rtol=0, atol=1.1e-5)
    lines = [line for line in repr(store).splitlines() if line]
    assert lines == [line for line in repr(expected).splitlines() if line]


@pytest.mark.parametrize("mode", ["v4", "v3"])
@pytest.mark.parametrize(
    "names",
    [
        ["vocals", "accompaniment"],
        ["bass", "drums", "unknown"],
        ["accompaniment", "other", "vocals", "drums", "bass"],
    ],
)
def test_a_track_has_the_scores_of_museval_and_its_file(track, names, mode, tmp_path):
    track, estimates = track
    estimates = {name: estimates.get(name, estimates["bass"]) for name in names}
    arguments = (track, estimates)
    options = {"mode": mode, "win": 1.0, "hop": 0.5}
    store = ours.eval_mus_track(*arguments, output_dir=tmp_path / "ours", **options)
    expected = theirs.eval_mus_track(*arguments, output_dir=str(tmp_path / "theirs"), **options)
    assert_same_store(store, expected)
    files = [tmp_path / name / "test" / f"{track.name}.json" for name in ("ours", "theirs")]
    written, written_by_theirs = (file.read_text() for file in files)
    assert written == store.json
    assert json.loads(written).keys() == json.loads(written_by_theirs).keys()
    # Both read both.
    for stores in itertools.product((ours, theirs), ("ours", "theirs")):
        read = stores[0].EvalStore()
        read.add_eval_dir(tmp_path / stores[1])
        pd.testing.assert_frame_equal(
            read.df, expected.df.reset_index(drop=True), rtol=0, atol=1.1e-5
        )


def test_one_estimate_has_no_scores(track):
    track, estimates = track
    with pytest.warns(UserWarning, match="two targets or more"):
        store = ours.eval_mus_track(track, {"vocals": estimates["vocals"]})
    assert json.loads(store.json)["targets"] == []
    assert store.df.empty


VALUES = {
    "SDR": [1.234565, -0.000001, np.inf, np.nan],
    "ISR": [100, -np.inf, 2.5, 1e-9],
    "SIR": [np.float64(3.1), 0.0, -7.000005, 8],
    "SAR": [5, 6, 7, 1234.5],
}


@pytest.fixture
def stores():
    """The same scores in our store and in museval's, of two tracks each."""
    both = []
    for package in (ours, theirs):
        tracks = []
        for number, name in enumerate(("First", "Zweiter, Ö")):
            store = package.TrackStore(name, win=1.0, hop=0.5)
            for target in ("vocals", 'the "bass"'):
                store.add_target(target, {name: np.add(v, number) for name, v in VALUES.items()})
            tracks.append(store)
        both.append(tracks)
    return both


def test_a_store_of_a_track_is_musevals_to_the_last_character(stores):
    for store, expected in zip(*stores, strict=True):
        assert store.json == expected.json
        pd.testing.assert_frame_equal(store.df, expected.df)
        assert repr(store) == repr(expected)
        assert store.validate() is None


@pytest.mark.parametrize("frames", ["median", "mean"])
@pytest.mark.parametrize("tracks", ["median", "mean"])
def test_stores_of_many_tracks_aggregate_as_musevals_do(stores, frames, tracks, tmp_path):
    results = []
    for package, track_stores in zip((ours, theirs), stores, strict=True):
        store = package.EvalStore(frames, tracks)
        for track_store in track_stores:
            store.add_track(track_store)
        methods = package.MethodStore(frames, tracks)
        for name in ("A", "B"):
            methods.add_evalstore(store, name)
        results.append((store, methods))
    for store, expected in zip(*results, strict=True):
        pd.testing.assert_series_equal(store.agg_frames_scores(), expected.agg_frames_scores())
        pd.testing.assert_series_equal(
            store.agg_frames_tracks_scores(), expected.agg_frames_tracks_scores()
        )
        store.save(tmp_path / "scores.pandas")
        loaded = type(store)()
        loaded.load(tmp_path / "scores.pandas")
        pd.testing.assert_frame_equal(loaded.df, store.df)
    lines, expected_lines = (repr(result[0]).splitlines() for result in results)
    assert lines[1:] == expected_lines[1:]
    assert lines[0] == f"Aggregated scores ({frames} over frames, {tracks} over tracks)"


def test_folders_of_scores_are_methods(stores, tmp_path):
    for name in ("A", "B"):
        (tmp_path / name / "test").mkdir(parents=True)
        stores[0][0].save(tmp_path / name / "test" / "First.json")
    methods = [package.MethodStore() for package in (ours, theirs)]
    for store, name in itertools.product(methods, ("A", "B")):
        store.add_eval_dir(tmp_path / name)
    pd.testing.assert_frame_equal(methods[0].df, methods[1].df)


def test_what_a_store_cannot_do_is_one_line(tmp_path):
    store = ours.EvalStore("maximum")
    (tmp_path / "test").mkdir()
    with pytest.raises(InputError, match=r"there are no files test/\*\*/\*.json"):
        store.add_eval_dir(tmp_path)
    (tmp_path / "test" / "track.json").write_text("{}")
    with pytest.raises(InputError, match=r"track\.json: does not hold scores of museval"):
        store.add_eval_dir(tmp_path)
    track_store = ours.TrackStore("track")
    track_store.add_target("vocals", {name: [1] for name in METRICS})
    store.add_track(track_store)
    with pytest.raises(InputError, match="'maximum' is neither median nor mean"):
        store.agg_frames_scores()
    with pytest.raises(InputError, match="is neither median nor mean"):
        ours.TrackStore("track", frames_agg="maximum")
    with pytest.raises(InputError, match="does not fetch the scores of SiSEC 2018"):
        ours.MethodStore().add_sisec18()
    track_store.scores["targets"][0]["frames"][0]["metrics"]["SDR"] = "1"
    with pytest.raises(InputError, match="the scores of track: SDR of vocals is '1'"):
        track_store.validate()


@pytest.fixture
def folders(track, tmp_path):
    """Folders with the references and the estimates of two stems."""
    track, estimates = track
    for name in ("vocals", "drums"):
        audio = {"references": track.targets[name].audio, "estimates": estimates[name]}
        for folder, samples in audio.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            soundfile.write(tmp_path / folder / f"{name}.wav", samples, RATE, "FLOAT")
    return tmp_path / "references", tmp_path / "estimates"


def test_a_folder_has_the_scores_of_museval(folders, tmp_path):
    store = ours.eval_dir(*folders, output_dir=tmp_path / "scores", win=0.5)
    expected = theirs.eval_dir(*map(str, folders), win=0.5)
    keys = ["target", "metric", "time"]  # museval lists files in the order of the file system
    tables = [scores.df.sort_values(keys).reset_index(drop=True) for scores in (store, expected)]
    pd.testing.assert_frame_equal(*tables, rtol=0, atol=1.1e-5)
    assert set(store.df["target"]) == {"vocals.wav", "drums.wav"}
    assert (tmp_path / "scores" / "references.json").read_text() == store.json


def test_a_file_is_scored_against_the_reference_of_its_name(folders):
    references, estimates = folders
    (estimates / "vocals.wav").rename(estimates / "voice.wav")
    with pytest.raises(InputError) as caught:
        ours.eval_dir(references, estimates)
    assert str(caught.value) == f"{references}: has no voice.wav, which the other folder has"


def test_bad_folders_are_one_line(folders):
    references, estimates = folders
    (estimates / "drums.wav").write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"drums\.wav: cannot be read as audio"):
        ours.eval_dir(references, estimates)
    soundfile.write(estimates / "drums.wav", np.ones(9), 2 * RATE)
    with pytest.raises(InputError, match="has 8000 samples a second, but the others have 4000"):
        ours.eval_dir(references, estimates)
    with pytest.raises(InputError, match="there are no WAV files"):
        ours.eval_dir(references.parent, estimates)


def test_estimates_of_a_data_set_are_scored_track_by_track(track, tmp_path):
    track, estimates = track
    folder = tmp_path / "estimates" / "test" / track.name
    folder.mkdir(parents=True)
    for name in ("vocals", "accompaniment", "mixture"):
        audio = estimates.get(name, estimates["vocals"])
        soundfile.write(folder / f"{name}.wav", audio, RATE, "DOUBLE")
    without_estimates = SimpleNamespace(name="First", subset="test", rate=RATE, targets={})
    ours.eval_mus_dir([without_estimates, track], tmp_path / "estimates", tmp_path / "scores")
    expected = ours.eval_mus_track(
        track, {name: estimates[name] for name in ("vocals", "accompaniment")}
    )
    (file,) = (tmp_path / "scores").rglob("*.json")
    assert file == tmp_path / "scores" / "test" / f"{track.name}.json"
    assert file.read_text() == expected.json
    with pytest.warns(UserWarning, match="there are no estimates .* nothing is scored"):
        ours.eval_mus_dir([without_estimates], tmp_path / "estimates")


def test_the_command_of_museval_prints_the_medians(folders, capsys):
    references, estimates = folders
    cli.bsseval([str(references), str(estimates), "--win", "0.5"])
    lines = capsys.readouterr().out.split("\n")
    assert [line.split()[0] for line in lines if line] == ["drums.wav", "vocals.wav"]
    assert (estimates / "references.json").is_file()
    with pytest.raises(SystemExit) as ended:
        cli.bsseval([str(references), str(Path(estimates, "missing"))])
    assert str(ended.value).startswith("ERROR: ")


def test_the_command_for_musdb_scores_its_tracks(tmp_path):
    """As museval's own test does, with a MUSDB of one track in WAV files."""
    rng = np.random.default_rng(2)
    for stem in ("mixture", "drums", "bass", "other", "vocals"):
        for folder in ("musdb", "estimates"):
            path = tmp_path / folder / "test" / "A - B" / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal((4000, 2)), 4000)
    arguments = ["-o", str(tmp_path / "scores"), "--musdb", str(tmp_path / "musdb"), "--is-wav"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cli.museval([str(tmp_path / "estimates"), *arguments])
    store = ours.EvalStore()
    store.add_eval_dir(tmp_path / "scores")
    assert set(store.df["target"]) == {"drums", "bass", "other", "vocals"}
    assert np.isfinite(store.df["score"]).all()
