"""Seconds that a launch takes with `runtime=docker`, compared with `runtime=local`.

    .venv/pipeline/bin/python -m benchmarks.launch

This launches SVoice's `estimate` in a folder without a model. It starts, imports PyTorch, reads its
configuration, and ends because there is no model. The difference between the two is the cost of the
container. This needs a Docker engine and the image (`dvc exp run -S runtime=docker`, once).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from contract.arguments import Parser
from contract.layout import CONF, CONFIGURATION, SVOICE_MODEL
from tests.yaml_files import read_yaml, write_yaml

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "stages.launch", "svoice", "estimate"]


def prepare(folder: Path, runtime: str) -> None:
    """Puts the configuration and the code in a folder.

    Args:
        folder: the folder.
        runtime: a file of conf/runtime.
    """
    params = read_yaml(ROOT / CONFIGURATION)
    params["runtime"] = read_yaml(ROOT / CONF / "runtime" / f"{runtime}.yaml")
    write_yaml(folder / CONFIGURATION, params)
    for name in ("contract", "docker", "svoice"):
        target = folder / name
        if not target.exists():
            subprocess.run(["cp", "-r", ROOT / name, target], check=True)


def launch(folder: Path) -> float:
    """Launches `estimate` in a folder, and returns the seconds until its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = perf_counter()
    finished = subprocess.run(COMMAND, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = perf_counter() - started
    expected = f"{SVOICE_MODEL}: there is no such file"
    if finished.returncode != 1 or expected not in finished.stderr:
        sys.exit(f"ERROR: the launch failed, but not because there is no model:\n{finished.stderr}")
    return seconds


def main() -> None:
    """Prints a line for each runtime."""
    parser = Parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {"local": [], "docker": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds + 1):
            for runtime, launches in seconds.items():
                prepare(folder, runtime)
                launch_seconds = launch(folder)
                if number > 0:  # the first launch fills the caches of the system
                    launches.append(launch_seconds)
    print(f"{'runtime':8}{'median s':>10}{'least':>8}{'most':>8}   of {rounds}")
    for runtime, launches in seconds.items():
        print(f"{runtime:8}{median(launches):10.2f}{min(launches):8.2f}{max(launches):8.2f}")
    print(f"a container costs {median(seconds['docker']) - median(seconds['local']):.2f} s")


if __name__ == "__main__":
    main()
