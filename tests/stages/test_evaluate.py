"""Scoring many items as the stages do: the same files whatever the number of workers, bad ones
named, and gone on with after a kill."""

import json
import os
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
import soundfile

from metrics.errors import InputError
from stages import evaluate_spleeter, evaluate_svoice
from stages.params import Evaluation
from tests.stages.workspaces import command, environment, run_stage

TRACKS, SECONDS, RATE = 6, 3, 8000
TARGETS = ("vocals", "drums", "bass", "other")
EVALUATION = Evaluation(window_seconds=1.0, hop_seconds=1.0, pesq=False, stoi=False)
KEPT = "scratch/evaluate_spleeter"


@pytest.fixture
def tracks(workspace, monkeypatch):
    """A workspace with six songs of 3 s at 8 kHz, mono, cut from the embedded one, and estimates of
    them. Each stem of each song has another gain."""
    root = workspace.root
    item = pd.read_csv(root / "data/csv/music/test.csv").iloc[0]
    stems = {t: soundfile.read(root / item[f"{t}_path"], always_2d=True)[0] for t in TARGETS}
    rng = np.random.default_rng(0)
    rows = []
    for number in range(TRACKS):
        name, row = f"Song {number}", {}
        gains = rng.uniform(0.3, 1, len(TARGETS))
        signals = np.stack(
            [
                gain * np.roll(stems[target][: SECONDS * RATE, 0], 1000 * number)
                for gain, target in zip(gains, TARGETS, strict=True)
            ]
        )
        mixture = signals.sum(axis=0)
        row["mix_path"] = _write(root, f"songs/{name}/mixture.wav", mixture)
        for target, signal_ in zip(TARGETS, signals, strict=True):
            row[f"{target}_path"] = _write(root, f"songs/{name}/{target}.wav", signal_)
            estimate = signal_ + 0.2 * mixture + 0.01 * rng.normal(size=mixture.size)
            _write(root, f"results/spleeter/estimates/{name}/{target}.wav", estimate)
        rows.append({**row, "duration": SECONDS})
    pd.DataFrame(rows).to_csv(root / "data/csv/music/test.csv", index=False)
    monkeypatch.chdir(root)
    return root


def _write(root, name, samples):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return name


def written(root, model="spleeter"):
    """What the stage wrote, by path."""
    results = root / "results" / model
    files = [*results.glob("scores.*"), *results.glob("museval/**/*.json")]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def on_one_core(stage):
    return ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *command(stage)]


def test_the_same_bytes_whatever_the_number_of_workers(tracks):
    evaluate_spleeter.evaluate(EVALUATION, workers=1)
    one = written(tracks)
    assert len(one) == 2 + TRACKS
    assert list(pd.read_csv(tracks / "results/spleeter/scores.csv")["track"].unique()) == [
        f"Song {number}" for number in range(TRACKS)
    ]
    evaluate_spleeter.evaluate(EVALUATION, workers=3)
    assert written(tracks) == one
    assert not list((tracks / KEPT).iterdir())


def test_the_same_bytes_for_one_track_with_one_core_and_with_all(tracks):
    """Whose cores then share the work on it."""
    listed = tracks / "data/csv/music/test.csv"
    pd.read_csv(listed).head(1).to_csv(listed, index=False)
    subprocess.run(on_one_core("evaluate_spleeter"), cwd=tracks, env=environment(), check=True)
    one = written(tracks)
    evaluate_spleeter.evaluate(EVALUATION)
    assert written(tracks) == one


def test_bad_tracks_are_named_and_the_others_kept(tracks):
    spoilt = tracks / "results/spleeter/estimates/Song 2/drums.wav"
    whole = spoilt.read_bytes()
    spoilt.write_bytes(b"no audio")
    (tracks / "songs/Song 4/bass.wav").rename(tracks / "songs/away.wav")
    done = run_stage(tracks, "evaluate_spleeter")
    assert done.returncode == 1
    first, second = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    assert "Song 2/drums.wav: found unreadable data" in first
    assert "Song 4/bass.wav: found no such file, expected audio" in second
    assert "scoring music: 4 of 6 tracks are kept for the next run" in done.stderr
    assert "Traceback" not in done.stderr
    assert not written(tracks)

    spoilt.write_bytes(whole)
    (tracks / "songs/away.wav").rename(tracks / "songs/Song 4/bass.wav")
    done = run_stage(tracks, "evaluate_spleeter")
    assert done.returncode == 0, done.stderr
    assert "scoring music: 4 of 6 tracks were scored before" in done.stderr
    after = written(tracks)
    evaluate_spleeter.evaluate(EVALUATION)
    assert written(tracks) == after


def test_more_than_ten_bad_tracks_are_counted(tracks):
    listed = tracks / "data/csv/music/test.csv"
    rows = [
        {**row, "mix_path": f"songs/Song {number}/mixture.wav"}
        for number in range(12)
        for row in [pd.read_csv(listed).iloc[0].to_dict()]
    ]
    pd.DataFrame(rows).to_csv(listed, index=False)
    for path in (tracks / "results/spleeter/estimates").glob("*/drums.wav"):
        path.unlink()
    with pytest.raises(InputError) as caught:
        evaluate_spleeter.evaluate(EVALUATION)
    lines = str(caught.value).splitlines()
    assert len(lines) == 11 and lines[-1] == "ERROR: and 2 more"


def test_killed_and_started_again_it_scores_no_track_twice(tracks):
    process = subprocess.Popen(  # tracks are finished one by one
        on_one_core("evaluate_spleeter"), cwd=tracks, env=environment(), stderr=subprocess.PIPE
    )
    for _ in range(3000):
        finished = list((tracks / KEPT).glob("*.json"))
        if len(finished) >= 2:
            break
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not written(tracks)
    _until_idle(tracks / KEPT)
    finished = sorted((tracks / KEPT).glob("*.json"))
    assert 2 <= len(finished) < TRACKS
    # What was kept is what is written: a value that no scoring gives.
    scores = json.loads(finished[0].read_text())
    scores["SDR"][0] = [77.25] * SECONDS
    finished[0].write_text(json.dumps(scores))

    done = run_stage(tracks, "evaluate_spleeter")
    assert done.returncode == 0, done.stderr
    assert f"{len(finished)} of {TRACKS} tracks were scored before" in done.stderr
    table = pd.read_csv(tracks / "results/spleeter/scores.csv")
    assert (table["SDR"] == 77.25).sum() == 1
    assert not list((tracks / KEPT).iterdir())


def _until_idle(folder):
    """Waits until the workers, which end with their parent, have written nothing for a while."""
    before = None
    while before != (before := sorted(os.listdir(folder))):
        time.sleep(0.5)


def test_kept_scores_are_those_of_the_same_audio_settings_and_code(tracks, capsys):
    bad = tracks / "results/spleeter/estimates/Song 5/drums.wav"
    whole = bad.read_bytes()
    bad.unlink()

    def scored_before(evaluation=EVALUATION):
        capsys.readouterr()
        with pytest.raises(InputError):
            evaluate_spleeter.evaluate(evaluation)
        said = [line for line in capsys.readouterr().err.splitlines() if "before" in line]
        return int(said[0].split()[2]) if said else 0

    assert scored_before() == 0
    assert scored_before() == 5
    assert scored_before(EVALUATION.model_copy(update={"hop_seconds": 0.5})) == 0
    changed = tracks / "songs/Song 1/vocals.wav"
    samples, _ = soundfile.read(changed)
    _write(tracks, "songs/Song 1/vocals.wav", 0.9 * samples)
    assert scored_before() == 4
    kept = sorted((tracks / KEPT).glob("*.json"))
    for path in kept:
        path.write_text(path.read_text()[:20])  # as a power cut leaves it
    assert scored_before() == 0
    bad.write_bytes(whole)
    evaluate_spleeter.evaluate(EVALUATION)
    # Those of the other settings and of the changed song's old audio are not this run's to remove.
    assert len(list((tracks / KEPT).iterdir())) == 5 + 1


def test_speech_too(tracks):
    item = pd.read_csv(tracks / "data/csv/speech/test.csv").iloc[0]
    sources = [soundfile.read(tracks / item[f"s{n}_path"])[0] for n in (1, 2)]
    rows = []
    for number in range(20):
        shifted = [np.roll(sources[0], 100 * number), sources[1]]
        mixture = sum(shifted)
        row = {"mix_path": _write(tracks, f"speech/mix/{number}.wav", mixture)}
        for speaker, samples in enumerate(shifted, 1):
            name = f"s{speaker}/{number}.wav"
            row[f"s{speaker}_path"] = _write(tracks, f"speech/{name}", samples)
            _write(tracks, f"results/svoice/estimates/{name}", samples + 0.2 * mixture)
        rows.append({**row, "length": len(mixture), "sample_rate": RATE})
    pd.DataFrame(rows).to_csv(tracks / "data/csv/speech/test.csv", index=False)
    evaluate_svoice.evaluate(EVALUATION, workers=1)
    one = written(tracks, "svoice")
    assert sorted(one) == ["scores.csv", "scores.json"]
    evaluate_svoice.evaluate(EVALUATION, workers=2)
    assert written(tracks, "svoice") == one

    (tracks / "results/svoice/estimates/s2/7.wav").unlink()
    done = run_stage(tracks, "evaluate_svoice")
    assert done.returncode == 1
    assert "ERROR: results/svoice/estimates/s2/7.wav: found no such file" in done.stderr
    assert "scoring speech: 19 of 20 mixtures are kept for the next run" in done.stderr
