"""Many tracks scored by evaluate_spleeter, with one worker and with one per core.

    .venv/pipeline/bin/python -m benchmarks.score_tracks

The tracks are made from the embedded song: four stereo stems, each second of each stem from another
place and with another gain, and estimates with leakage and noise. The stage is started as DVC
starts it, which is part of the time; `one worker` is the stage on one core. Then the stage is
killed halfway and started again, and at last one track is damaged. All files are compared byte by
byte.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from contract.arguments import Parser
from contract.layout import (
    CONFIGURATION,
    ESTIMATES,
    MUSEVAL,
    MUSIC,
    MUSIC_BOUNDS,
    MUSIC_TEST,
    SCRATCH,
    SPLEETER_RESULTS,
)
from contract.scores import MUSIC_BOUND_COLUMNS
from contract.sources import DURATION, MIXTURE_PATH, STEMS, path_column
from tests.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / SCRATCH / "test-data" / MUSIC / "test"
KEPT_SCORES = Path(SCRATCH, "evaluate_spleeter")


def make_tracks(tracks: int, seconds: int) -> None:
    """Fills the working directory with tracks and estimates, their list, and configuration.yaml.

    Args:
        tracks: how many.
        seconds: the length of each.
    """
    (song,) = EMBEDDED.iterdir()
    stems = {target: soundfile.read(song / f"{target}.wav") for target in STEMS}
    rate = stems["vocals"][1]
    rng = np.random.default_rng(0)
    rows = []
    for number in range(tracks):
        name = f"Track {number:02d}"
        references = np.stack([_shuffled(stems[target][0], rate, seconds, rng) for target in STEMS])
        mixture = references.sum(axis=0)
        row = {MIXTURE_PATH: _write(Path("songs", name, "mixture.wav"), mixture, rate)}
        for target, reference in zip(STEMS, references, strict=True):
            path = Path("songs", name, f"{target}.wav")
            row[path_column(target)] = _write(path, reference, rate)
            noise = 0.003 * rng.normal(size=mixture.shape)
            path = SPLEETER_RESULTS / ESTIMATES / name / f"{target}.wav"
            _write(path, 0.9 * reference + 0.1 * mixture + noise, rate)
        rows.append({**row, DURATION: seconds})
    MUSIC_TEST.parent.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(MUSIC_TEST, index=False)
    MUSIC_BOUNDS.parent.mkdir(parents=True)
    pd.DataFrame(columns=list(MUSIC_BOUND_COLUMNS)).to_csv(MUSIC_BOUNDS, index=False)
    shutil.copyfile(ROOT / CONFIGURATION, CONFIGURATION)


def _shuffled(stem: np.ndarray, rate: int, seconds: int, rng: np.random.Generator) -> np.ndarray:
    """Returns seconds of a stem, `(samples, channels)`, each from another place and with another
    gain."""
    starts = rng.integers(0, len(stem) - rate, seconds)
    return np.concatenate([rng.uniform(0.1, 0.4) * stem[start : start + rate] for start in starts])


def _write(path: Path, samples: np.ndarray, rate: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return str(path)


def stage_command(cores: int | None = None) -> list[str]:
    """Returns the command of the stage, on the first `cores` cores or, if that is None, on all."""
    stage = [sys.executable, "-m", "stages.evaluate_spleeter"]
    if cores is None:
        return stage
    first_cores = sorted(os.sched_getaffinity(0))[:cores]
    return ["taskset", "--cpu-list", ",".join(map(str, first_cores)), *stage]


def run_stage(cores: int | None = None) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs the stage. Returns its process and the seconds that it took."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(stage_command(cores), env=environment, capture_output=True, text=True)
    return process, time.perf_counter() - started


def written_files() -> dict[str, bytes]:
    """Returns the files that the stage has written, by path."""
    files = [*SPLEETER_RESULTS.glob("*.*"), *SPLEETER_RESULTS.glob(f"{MUSEVAL}/**/*.json")]
    return {str(path): path.read_bytes() for path in files}


def kill_halfway(tracks: int) -> int:
    """Starts the stage and kills it when half of the tracks are scored.

    Returns:
        How many tracks were scored.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(stage_command(), env=environment, stderr=subprocess.DEVNULL)
    while len(list(KEPT_SCORES.glob("*.json"))) < tracks // 2 and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(2)  # until its workers have ended too
    return len(list(KEPT_SCORES.glob("*.json")))


def messages(process: subprocess.CompletedProcess[str]) -> str:
    """Returns the stage's errors, and its lines about scores that are kept."""
    words = ("ERROR: ", "scored before", "kept for the next run")
    lines = process.stderr.splitlines()
    return "; ".join(line for line in lines if any(word in line for word in words))


def main() -> None:
    """Prints a line for each run of the stage."""
    parser = Parser(__doc__)
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    evaluation = read_yaml(ROOT / CONFIGURATION)["evaluation"]
    frame = f"frames of {evaluation['window_seconds']} s"
    print(f"{options.tracks} tracks of {options.seconds} s, {frame}")
    with tempfile.TemporaryDirectory(prefix="score_tracks") as folder:
        os.chdir(folder)
        make_tracks(options.tracks, options.seconds)

        process, one_worker = run_stage(cores=1)
        process.check_returncode()
        expected = written_files()
        print(f"one worker              {one_worker:7.1f} s  {len(expected)} files")
        shutil.rmtree(SPLEETER_RESULTS / MUSEVAL)
        _, all_workers = run_stage()
        workers = len(os.sched_getaffinity(0))
        print(f"{workers} workers               {all_workers:7.1f} s", end="  ")
        same = written_files() == expected
        print(f"{one_worker / all_workers:.2f} times as fast, same bytes: {same}")

        shutil.rmtree(SPLEETER_RESULTS / MUSEVAL)
        scored = kill_halfway(options.tracks)
        process, rest = run_stage()
        print(f"killed after {scored:<3} tracks  {rest:7.1f} s", end="  ")
        print(f"same bytes: {written_files() == expected}; {messages(process)}")

        shutil.rmtree(SPLEETER_RESULTS / MUSEVAL)
        damaged = SPLEETER_RESULTS / ESTIMATES / "Track 01" / "drums.wav"
        damaged.write_bytes(damaged.read_bytes()[:100_000])
        process, _ = run_stage()
        print(f"one damaged             exit code {process.returncode}: {messages(process)}")


if __name__ == "__main__":
    main()
