"""Seconds that a launch takes: `runtime=docker` beside `runtime=local`.

    .venv/pipeline/bin/python -m benchmarks.launch

Launched is SVoice's `estimate` in a folder without a model: it starts, imports PyTorch, reads its
configuration and ends for want of the model. The difference is what the container costs. Needs a
Docker engine, and the image (`dvc exp run -S runtime=docker`, once).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from metrics.arguments import Parser
from tests.yaml_files import read_yaml, write_yaml

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "stages.launch", "svoice", "estimate"]


def prepare(folder, runtime):
    params = read_yaml(ROOT / "params.yaml")
    params["runtime"] = read_yaml(ROOT / "conf" / "runtime" / f"{runtime}.yaml")
    write_yaml(folder / "params.yaml", params)
    for name in ("docker", "svoice", ".dockerignore"):
        target = folder / name
        if not target.exists():
            subprocess.run(["cp", "-r", ROOT / name, target], check=True)


def launch(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = perf_counter()
    done = subprocess.run(COMMAND, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = perf_counter() - started
    if done.returncode != 1 or "models/svoice/model.pt" not in done.stderr:
        sys.exit(f"ERROR: found another end than for want of a model:\n{done.stderr}")
    return seconds


def main():
    parser = Parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    seconds = {"local": [], "docker": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds + 1):
            for runtime, took in seconds.items():
                prepare(folder, runtime)
                found = launch(folder)
                if number:  # the first one fills the system's caches
                    took.append(found)
    print(f"{'runtime':8}{'median s':>10}{'least':>8}{'most':>8}   of {rounds}")
    for runtime, took in seconds.items():
        print(f"{runtime:8}{median(took):10.2f}{min(took):8.2f}{max(took):8.2f}")
    print(f"a container costs {median(seconds['docker']) - median(seconds['local']):.2f} s")


if __name__ == "__main__":
    main()
