"""Many tracks scored by evaluate_spleeter, with one worker and with one per core.

    .venv/pipeline/bin/python -m benchmarks.score_tracks

The tracks are made for it from the embedded song: four stereo stems, each second of each stem from
another place and with another gain, and estimates that leak and hiss. The stage runs as DVC runs
it, its start included; `one worker` is the stage on one core. Then it is killed halfway and started
again, and one track is spoilt. All files are compared byte by byte.
"""

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

from metrics.arguments import Parser
from tests.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "scratch" / "test-data" / "data" / "music" / "test"
TARGETS = ("vocals", "drums", "bass", "other")
RESULTS = Path("results/spleeter")
KEPT = Path("scratch/evaluate_spleeter")


def make(tracks: int, seconds: int) -> None:
    """Fills the working directory."""
    (song,) = EMBEDDED.iterdir()
    stems = {target: soundfile.read(song / f"{target}.wav") for target in TARGETS}
    rate = stems["vocals"][1]
    rng = np.random.default_rng(0)
    rows = []
    for number in range(tracks):
        name = f"Track {number:02d}"
        references = np.stack([_spread(stems[t][0], rate, seconds, rng) for t in TARGETS])
        mixture = references.sum(axis=0)
        row = {"mix_path": _write(Path("songs", name, "mixture.wav"), mixture, rate)}
        for target, reference in zip(TARGETS, references, strict=True):
            row[f"{target}_path"] = _write(Path("songs", name, f"{target}.wav"), reference, rate)
            hiss = 0.003 * rng.normal(size=mixture.shape)
            path = RESULTS / "estimates" / name / f"{target}.wav"
            _write(path, 0.9 * reference + 0.1 * mixture + hiss, rate)
        rows.append({**row, "duration": seconds})
    Path("data/csv/music").mkdir(parents=True)
    pd.DataFrame(rows).to_csv("data/csv/music/test.csv", index=False)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")


def _spread(stem, rate, seconds, rng):
    """Seconds of a stem (samples, 2), each from another place and with another gain."""
    starts = rng.integers(0, len(stem) - rate, seconds)
    return np.concatenate([rng.uniform(0.1, 0.4) * stem[s : s + rate] for s in starts])


def _write(path: Path, samples, rate) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return str(path)


def stage(cores: int | None = None) -> list[str]:
    limited = ["taskset", "--cpu-list", _first(cores)] if cores else []
    return [*limited, sys.executable, "-m", "stages.evaluate_spleeter"]


def _first(cores: int) -> str:
    return ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))


def run(cores: int | None = None) -> tuple[subprocess.CompletedProcess, float]:
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(stage(cores), env=environment, capture_output=True, text=True)
    return done, time.perf_counter() - started


def written() -> dict[str, bytes]:
    files = [*RESULTS.glob("scores.*"), *RESULTS.glob("museval/**/*.json")]
    return {str(path): path.read_bytes() for path in files}


def killed_halfway(tracks: int) -> int:
    """→ how many tracks were finished."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(stage(), env=environment, stderr=subprocess.DEVNULL)
    while len(list(KEPT.glob("*.json"))) < tracks // 2 and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(2)  # until its workers have ended too
    return len(list(KEPT.glob("*.json")))


def said(done: subprocess.CompletedProcess) -> str:
    words = ("ERROR: ", "scored before", "kept for the next run")
    lines = done.stderr.splitlines()
    return "; ".join(line for line in lines if any(word in line for word in words))


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    rules = read_yaml(ROOT / "params.yaml")["evaluation"]
    print(f"{options.tracks} tracks of {options.seconds} s, frames of {rules['window_seconds']} s")
    with tempfile.TemporaryDirectory(prefix="score_tracks") as folder:
        os.chdir(folder)
        make(options.tracks, options.seconds)

        _, one = run(cores=1)
        expected = written()
        print(f"one worker              {one:7.1f} s  {len(expected)} files")
        shutil.rmtree(RESULTS / "museval")
        _, all_cores = run()
        print(f"{len(os.sched_getaffinity(0))} workers               {all_cores:7.1f} s", end="  ")
        print(f"{one / all_cores:.2f} times as fast, same bytes: {written() == expected}")

        shutil.rmtree(RESULTS / "museval")
        finished = killed_halfway(options.tracks)
        done, rest = run()
        print(f"killed after {finished:<3} tracks  {rest:7.1f} s", end="  ")
        print(f"same bytes: {written() == expected}; {said(done)}")

        shutil.rmtree(RESULTS / "museval")
        spoilt = RESULTS / "estimates" / "Track 01" / "drums.wav"
        spoilt.write_bytes(spoilt.read_bytes()[:100_000])
        done, _ = run()
        print(f"one spoilt              exit code {done.returncode}: {said(done)}")


if __name__ == "__main__":
    main()
