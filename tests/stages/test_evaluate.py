"""Scoring many items as the stages do: the same files with any number of workers, errors that name
the bad items, and scores that survive a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from contract.errors import InputError
from contract.params import Evaluation
from contract.sources import STEMS
from stages import evaluate_spleeter, evaluate_svoice
from tests.results import write_bounds, write_training
from tests.stages import patience
from tests.stages.disks import fail_to_rename
from tests.stages.workspaces import command, environment, run_stage

TRACKS, SECONDS, RATE = 6, 3, 8000
EVALUATION = Evaluation(window_seconds=1.0, hop_seconds=1.0, pesq=False, stoi=False)
KEPT = "scratch/evaluate_spleeter"


@pytest.fixture
def tracks(workspace, monkeypatch):
    """A workspace with six mono songs of 3 s at 8 kHz, cut from the embedded one, and estimates of
    their stems. Each stem of each song has a different gain."""
    root = workspace.root
    item = pd.read_csv(root / "data/csv/music/test.csv").iloc[0]
    stems = {t: soundfile.read(root / item[f"{t}_path"], always_2d=True)[0] for t in STEMS}
    rng = np.random.default_rng(0)
    rows = []
    for number in range(TRACKS):
        name, row = f"Song {number}", {}
        gains = rng.uniform(0.3, 1, len(STEMS))
        signals = np.stack(
            [
                gain * np.roll(stems[target][: SECONDS * RATE, 0], 1000 * number)
                for gain, target in zip(gains, STEMS, strict=True)
            ]
        )
        mixture = signals.sum(axis=0)
        row["mix_path"] = _write(root, f"songs/{name}/mixture.wav", mixture)
        for target, samples in zip(STEMS, signals, strict=True):
            row[f"{target}_path"] = _write(root, f"songs/{name}/{target}.wav", samples)
            estimate = samples + 0.2 * mixture + 0.01 * rng.normal(size=mixture.size)
            _write(root, f"results/spleeter/estimates/{name}/{target}.wav", estimate)
        rows.append({**row, "duration": SECONDS})
    pd.DataFrame(rows).to_csv(root / "data/csv/music/test.csv", index=False)
    write_bounds(root)
    for model in ("spleeter", "svoice"):
        write_training(root, model)
    monkeypatch.chdir(root)
    return root


def _write(root: Path, name: str, samples: np.ndarray) -> str:
    """Writes samples of shape `(samples,)` to a file and returns its name."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return name


def written(root: Path, model: str = "spleeter") -> dict[str, bytes]:
    """Returns what the stage wrote: the content of each file by its path."""
    results = root / "results" / model
    names = ("scores.*", "details.json", "museval/**/*.json")
    files = [path for name in names for path in results.glob(name)]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def on_one_core(stage: str) -> list[str]:
    return ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *command(stage)]


def test_any_number_of_workers_writes_the_same_bytes(tracks):
    evaluate_spleeter.evaluate(EVALUATION, workers=1)
    by_one_worker = written(tracks)
    assert len(by_one_worker) == 2 + TRACKS
    assert list(pd.read_csv(tracks / "results/spleeter/scores.csv")["track"].unique()) == [
        f"Song {number}" for number in range(TRACKS)
    ]
    evaluate_spleeter.evaluate(EVALUATION, workers=3)
    assert written(tracks) == by_one_worker
    assert not list((tracks / KEPT).iterdir())


def test_any_number_of_cores_writes_the_same_bytes_for_one_track(tracks):
    """All cores share the work on it."""
    listed = tracks / "data/csv/music/test.csv"
    pd.read_csv(listed).head(1).to_csv(listed, index=False)
    subprocess.run(on_one_core("evaluate_spleeter"), cwd=tracks, env=environment(), check=True)
    by_one_core = written(tracks)
    evaluate_spleeter.evaluate(EVALUATION)
    assert written(tracks) == by_one_core


def test_bad_tracks_are_named_and_the_others_kept(tracks):
    damaged = tracks / "results/spleeter/estimates/Song 2/drums.wav"
    undamaged = damaged.read_bytes()
    damaged.write_bytes(b"no audio")
    (tracks / "songs/Song 4/bass.wav").rename(tracks / "songs/away.wav")
    done = run_stage(tracks, "evaluate_spleeter")
    assert done.returncode == 1
    first, second = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    remedy = "run the stage that writes it again"
    reason = "cannot be read as audio (Format not recognised)"
    assert first == f"ERROR: results/spleeter/estimates/Song 2/drums.wav: {reason}; {remedy}"
    assert second == f"ERROR: songs/Song 4/bass.wav: there is no such file; {remedy}"
    assert "scoring music: 4 of 6 tracks are kept for the next run" in done.stderr
    assert "Traceback" not in done.stderr
    assert not written(tracks)

    damaged.write_bytes(undamaged)
    (tracks / "songs/away.wav").rename(tracks / "songs/Song 4/bass.wav")
    done = run_stage(tracks, "evaluate_spleeter")
    assert done.returncode == 0, done.stderr
    assert "scoring music: 4 of 6 tracks were scored before" in done.stderr
    resumed = written(tracks)
    evaluate_spleeter.evaluate(EVALUATION)
    assert written(tracks) == resumed


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


def test_after_a_kill_no_track_is_scored_twice(tracks):
    process = subprocess.Popen(  # tracks are finished one by one
        on_one_core("evaluate_spleeter"), cwd=tracks, env=environment(), stderr=subprocess.PIPE
    )
    patience.until(lambda: len(list((tracks / KEPT).glob("*.json"))) >= 2)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not written(tracks)
    _until_idle(tracks / KEPT)
    finished = sorted((tracks / KEPT).glob("*.json"))
    assert 2 <= len(finished) < TRACKS
    # A value that no scoring gives shows that what was kept is what is written.
    scores = json.loads(finished[0].read_text())
    scores["SDR"][0] = [77.25] * SECONDS
    finished[0].write_text(json.dumps(scores))

    done = run_stage(tracks, "evaluate_spleeter")
    assert done.returncode == 0, done.stderr
    assert f"{len(finished)} of {TRACKS} tracks were scored before" in done.stderr
    table = pd.read_csv(tracks / "results/spleeter/scores.csv")
    assert (table["SDR"] == 77.25).sum() == 1
    assert not list((tracks / KEPT).iterdir())


def _until_idle(folder: Path) -> None:
    """Waits until the workers, which end with their parent, have written nothing for a while."""
    before = None
    while before != (before := sorted(os.listdir(folder))):
        time.sleep(0.5)


def test_kept_scores_are_used_for_the_same_audio_and_settings_alone(tracks, capsys):
    missing = tracks / "results/spleeter/estimates/Song 5/drums.wav"
    content = missing.read_bytes()
    missing.unlink()

    def scored_before(evaluation: Evaluation = EVALUATION) -> int:
        """Returns how many tracks have a score that an earlier run kept."""
        capsys.readouterr()
        with pytest.raises(InputError):
            evaluate_spleeter.evaluate(evaluation)
        lines = [line for line in capsys.readouterr().err.splitlines() if "before" in line]
        return int(lines[0].split()[2]) if lines else 0

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
    missing.write_bytes(content)
    evaluate_spleeter.evaluate(EVALUATION)
    # This run does not remove the scores of the other settings and of the changed song's old audio.
    assert len(list((tracks / KEPT).iterdir())) == 5 + 1


def write_mixtures(root: Path, count: int) -> None:
    """Writes the test list of `count` mixtures of two speakers, and estimates of these."""
    item = pd.read_csv(root / "data/csv/speech/test.csv").iloc[0]
    sources = [soundfile.read(root / item[f"s{n}_path"])[0] for n in (1, 2)]
    rows = []
    for number in range(count):
        shifted = [np.roll(sources[0], 100 * number), sources[1]]
        mixture = sum(shifted)
        row = {"mix_path": _write(root, f"speech/mix/{number}.wav", mixture)}
        for speaker, samples in enumerate(shifted, 1):
            name = f"s{speaker}/{number}.wav"
            row[f"s{speaker}_path"] = _write(root, f"speech/{name}", samples)
            _write(root, f"results/svoice/estimates/{name}", samples + 0.2 * mixture)
        rows.append({**row, "length": len(mixture), "sample_rate": RATE})
    pd.DataFrame(rows).to_csv(root / "data/csv/speech/test.csv", index=False)


def test_speech_is_scored_in_the_same_way(tracks):
    write_mixtures(tracks, 20)
    evaluate_svoice.evaluate(EVALUATION, workers=1)
    by_one_worker = written(tracks, "svoice")
    assert sorted(by_one_worker) == ["details.json", "scores.csv"]
    evaluate_svoice.evaluate(EVALUATION, workers=2)
    assert written(tracks, "svoice") == by_one_worker

    (tracks / "results/svoice/estimates/s2/7.wav").unlink()
    done = run_stage(tracks, "evaluate_svoice")
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    assert error == (
        "ERROR: results/svoice/estimates/s2/7.wav: there is no such file; "
        "run the stage that writes it again"
    )
    assert "scoring speech: 19 of 20 mixtures are kept for the next run" in done.stderr


@pytest.mark.parametrize(
    ("model", "stage"), [("spleeter", evaluate_spleeter), ("svoice", evaluate_svoice)]
)
def test_when_one_result_cannot_be_written_all_older_ones_stay(tracks, monkeypatch, model, stage):
    """The files would otherwise be of different estimates."""
    write_mixtures(tracks, 2)
    stage.evaluate(EVALUATION)
    older = written(tracks, model)
    for path in (tracks / "results" / model / "estimates").rglob("*.wav"):
        samples, _ = soundfile.read(path)
        _write(tracks, str(path.relative_to(tracks)), np.roll(samples, 1))
    with monkeypatch.context() as full_disk:
        fail_to_rename(full_disk, "details.json")
        with pytest.raises(OSError, match=r"details\.json"):
            stage.evaluate(EVALUATION)
    assert written(tracks, model) == older
    assert list((tracks / "results" / model).glob(".*")) == []
    stage.evaluate(EVALUATION)
    newer = written(tracks, model)
    assert newer.keys() == older.keys()
    changed = [name for name in newer if newer[name] != older[name]]
    assert set(changed) >= newer.keys() - {"scores.json"}  # which is rounded
