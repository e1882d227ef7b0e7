"""Seconds and memory of BSS Eval: `museval` and ours.

    .venv/pipeline/bin/python -m benchmarks.bsseval --seconds 60 240

Four stereo stems are scored, one window a second, as for MUSDB18. They are the embedded song (which
`make test-data` makes) over and over, each stem each time at another level and from another place
on, so that nothing repeats; the vocals are silent at first. The estimates are the stems with
leakage from the others, a filter and noise. Each function runs in a process of its own, and the
time to import it is not counted. `CPU s` is the time of all its threads together, `peak GB` the
most memory that the process held at any time. `largest difference` is that over the windows in
which museval's ratio is finite.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import soundfile

from benchmarks.spleeter_input import run_in_new_process
from contract.arguments import Parser
from contract.layout import MUSIC, SCRATCH
from contract.sources import STEMS

SONGS = Path(SCRATCH, "test-data", MUSIC)
SPLITS = ("train", "valid", "test")  # parts of the song, in order
SAMPLE_RATE = 44100
SILENT_SECONDS = 2.5
METRICS = ("SDR", "ISR", "SIR", "SAR")  # the metrics in the order of the functions' results
LARGEST_DIFFERENCE = 1e-6  # dB between museval and us

# A function, and what it is called with.
Call = tuple[Callable[..., Any], tuple[Any, ...]]


def song(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns references and estimates, each `(sources, samples, channels)`: four stereo stems."""
    rng = np.random.default_rng(0)
    references = np.stack(
        [np.concatenate(list(repetitions(stem, rng, seconds))) for stem in stems()]
    )
    references = references[:, : round(seconds * SAMPLE_RATE)]
    references[0, : round(SILENT_SECONDS * SAMPLE_RATE)] = 0
    estimates = 0.02 * rng.standard_normal(references.shape) * np.std(references)
    for target, estimate in enumerate(estimates):
        estimate += 0.8 * references[target] + 0.1 * np.roll(references[target], 20, axis=0)
        for other in range(len(references)):
            estimate += rng.uniform(0.02, 0.2) * references[other]
    return references, estimates


def stems() -> Iterator[np.ndarray]:
    """Yields each stem of the whole song, `(samples, channels)`."""
    for target in STEMS:
        parts = []
        for split in SPLITS:
            (path,) = SONGS.glob(f"*/*({split})/{target}.wav")
            parts.append(soundfile.read(path)[0])
        yield np.concatenate(parts)


def repetitions(stem: np.ndarray, rng: np.random.Generator, seconds: float) -> Iterator[np.ndarray]:
    """Yields a stem, `(samples, channels)`, until there are more than `seconds` of it, each time at
    another level and from another place on."""
    for _ in range(int(seconds * SAMPLE_RATE) // len(stem) + 1):
        yield rng.uniform(0.3, 1) * np.roll(stem, rng.integers(len(stem)), axis=0)


def museval(references: np.ndarray, estimates: np.ndarray) -> Call:
    """Returns museval's function and its arguments."""
    from museval.metrics import bss_eval

    return bss_eval, (references, estimates, SAMPLE_RATE, SAMPLE_RATE)


def ours(references: np.ndarray, estimates: np.ndarray) -> Call:
    """Returns our function and its arguments."""
    from metrics.core.bsseval import bss_eval_samples

    return bss_eval_samples, (references, estimates, SAMPLE_RATE, SAMPLE_RATE)


VARIANTS = {"museval": museval, "ours": ours}


def measure(variant: str, folder: Path) -> dict[str, float]:
    """Runs a function in this process, which must be its own.

    Args:
        variant: a key of `VARIANTS`.
        folder: holds the signals, and gets the ratios as `<variant>.npy`.

    Returns:
        `seconds`, `cpu_seconds`, and `peak`, the largest memory in GB.
    """
    signals = (np.load(folder / f"{name}.npy") for name in ("references", "estimates"))
    function, arguments = VARIANTS[variant](*signals)
    started, cpu_started = perf_counter(), process_time()
    ratios = function(*arguments)[: len(METRICS)]
    seconds, cpu_seconds = perf_counter() - started, process_time() - cpu_started
    np.save(folder / f"{variant}.npy", ratios)
    with open("/proc/self/status") as status:
        (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": peak / 1e9}


def differences(folder: Path) -> tuple[np.ndarray, bool]:
    """Compares the ratios in a folder.

    Returns:
        The largest difference of each metric in dB, `(metrics,)`, and whether the two functions
        have NaN in the same windows.
    """
    expected, ratios = (np.load(folder / f"{variant}.npy") for variant in VARIANTS)
    finite = np.isfinite(expected)
    with np.errstate(invalid="ignore"):
        largest = np.max(np.abs(ratios - expected), axis=(1, 2), where=finite, initial=0)
    return largest, bool((np.isnan(ratios) == np.isnan(expected)).all())


def main() -> None:
    """Prints a line for each function and length of the song; fails if the ratios differ."""
    parser = Parser(__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0], help="of the song")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.variant, options.folder)))
        return
    print(f"4 stereo stems, windows of 1 s, {len(os.sched_getaffinity(0))} CPU cores")
    print(f"{'song s':>7}  {'':9}{'seconds':>8}{'ratio':>7}{'CPU s':>8}{'peak GB':>9}", flush=True)
    all_same = True
    for seconds in options.seconds:
        with tempfile.TemporaryDirectory() as folder:
            for name, signals in zip(("references", "estimates"), song(seconds), strict=True):
                np.save(Path(folder, f"{name}.npy"), signals)
            museval_seconds = None
            for variant in VARIANTS:
                result = run_in_new_process(
                    "benchmarks.bsseval", "--variant", variant, "--folder", folder
                )
                museval_seconds = museval_seconds or result["seconds"]
                ratio = museval_seconds / result["seconds"]
                print(f"{seconds:7g}  {variant:9}{result['seconds']:8.2f}", end="")
                print(f"{ratio:7.1f}{result['cpu_seconds']:8.2f}{result['peak']:9.2f}", flush=True)
            largest, same_nan = differences(Path(folder))
        by_metric = ", ".join(
            f"{metric} {value:.1e}" for metric, value in zip(METRICS, largest, strict=True)
        )
        nan = "the same" if same_nan else "DIFFERENT"
        print(f"{'':9}largest difference, dB: {by_metric}; NaN {nan}")
        all_same = all_same and same_nan and largest.max() <= LARGEST_DIFFERENCE
    if not all_same:
        sys.exit(
            f"ERROR: the ratios differ from museval's by more than {LARGEST_DIFFERENCE} dB, or in "
            "which of them are NaN"
        )


if __name__ == "__main__":
    main()
