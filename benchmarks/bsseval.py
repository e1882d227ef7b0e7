"""Seconds and memory of BSS Eval: `museval`, `fast_bss_eval` and ours.

    .venv/pipeline/bin/python -m benchmarks.bsseval --seconds 60 240

- `v4`: four stereo stems, one window a second, as for MUSDB18: the images of version 4, which
  `fast_bss_eval` does not have.
- `v3`: the first channel of the same stems, the whole song as one window: `bss_eval_sources` of
  version 3, which all three have, without a search for the best order.

The stems are the embedded song (which `make test-data` makes) over and over, each stem each time at
another level and from another place on, so that nothing repeats; the vocals are silent at first.
The estimates are the stems with leakage from the others, a filter and noise. Each function runs in
a process of its own, and the time to import it is not counted. `ratio` is how often a function runs
in the time of `museval`. `CPU s` is the time of all its threads together, `peak GB` the most memory
that the process held at any time. `largest difference` is that from `museval`, over the windows in
which its ratio is finite.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
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


def museval_sources(references: np.ndarray, estimates: np.ndarray) -> Call:
    """Returns museval's function of version 3 and its arguments."""
    from museval.metrics import bss_eval_sources

    return bss_eval_sources, (*_mono(references, estimates), False)


def fast_bss_eval_sources(references: np.ndarray, estimates: np.ndarray) -> Call:
    """Returns the function of fast_bss_eval and its arguments.

    It solves by ten iterations, as its documentation advises where it has to be fast. Version 0.1.4
    cannot solve directly with NumPy 2.
    """
    from fast_bss_eval import bss_eval_sources

    function = partial(bss_eval_sources, use_cg_iter=10, compute_permutation=False)
    return function, _mono(references, estimates)


def our_sources(references: np.ndarray, estimates: np.ndarray) -> Call:
    """Returns our function of version 3 and its arguments."""
    from metrics.core.museval.metrics import bss_eval_sources

    return bss_eval_sources, (*_mono(references, estimates), False)


def _mono(*signals: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns the first channel of signals, each `(sources, samples)`."""
    return tuple(signal[..., 0].copy() for signal in signals)


# By version of BSS Eval and name, museval first and ours last.
VARIANTS = {
    "v4": {"museval": museval, "ours": ours},
    "v3": {
        "museval": museval_sources,
        "fast_bss_eval": fast_bss_eval_sources,
        "ours": our_sources,
    },
}
# The ratios, in the order of the functions' results.
RATIOS = {"v4": ("SDR", "ISR", "SIR", "SAR"), "v3": ("SDR", "SIR", "SAR")}


def measure(version: str, variant: str, folder: Path) -> dict[str, float]:
    """Runs a function in this process, which must be its own.

    Args:
        version: a key of `VARIANTS`.
        variant: a key of the version's.
        folder: holds the signals, and gets the ratios as `<variant>.npy`.

    Returns:
        `seconds`, `cpu_seconds`, and `peak`, the largest memory in GB.
    """
    signals = (np.load(folder / f"{name}.npy") for name in ("references", "estimates"))
    function, arguments = VARIANTS[version][variant](*signals)
    started, cpu_started = perf_counter(), process_time()
    ratios = function(*arguments)[: len(RATIOS[version])]
    seconds, cpu_seconds = perf_counter() - started, process_time() - cpu_started
    np.save(folder / f"{variant}.npy", ratios)
    with open("/proc/self/status") as status:
        (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": peak / 1e9}


def differences(variant: str, folder: Path) -> tuple[np.ndarray, bool]:
    """Compares the ratios of a function with those of museval.

    Args:
        variant: the function.
        folder: holds the ratios.

    Returns:
        The largest difference of each ratio in dB, `(ratios,)`, and whether the two functions have
        NaN in the same windows.
    """
    expected, ratios = (np.load(folder / f"{name}.npy") for name in ("museval", variant))
    expected, ratios = (array.reshape(len(array), -1) for array in (expected, ratios))
    finite = np.isfinite(expected)
    with np.errstate(invalid="ignore"):
        largest = np.max(np.abs(ratios - expected), axis=1, where=finite, initial=0)
    return largest, bool((np.isnan(ratios) == np.isnan(expected)).all())


def compare(version: str, seconds: float) -> bool:
    """Prints a line for each function of a version of BSS Eval.

    Args:
        version: a key of `VARIANTS`.
        seconds: the length of the song.

    Returns:
        Whether our ratios are those of museval.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, signals in zip(("references", "estimates"), song(seconds), strict=True):
            np.save(Path(folder, f"{name}.npy"), signals)
        museval_seconds = None
        for variant in VARIANTS[version]:
            options = ("--version", version, "--variant", variant, "--folder", folder)
            result = run_in_new_process("benchmarks.bsseval", *options)
            museval_seconds = museval_seconds or result["seconds"]
            ratio = museval_seconds / result["seconds"]
            print(f"{version:3}{seconds:6g}  {variant:14}{result['seconds']:8.2f}", end="")
            print(f"{ratio:7.1f}{result['cpu_seconds']:8.2f}{result['peak']:9.2f}", flush=True)
        for variant in [*VARIANTS[version]][1:]:
            largest, same_nan = differences(variant, Path(folder))
            by_ratio = ", ".join(
                f"{name} {value:.1e}" for name, value in zip(RATIOS[version], largest, strict=True)
            )
            nan = "the same" if same_nan else "DIFFERENT"
            print(f"{'':11}{variant}: largest difference, dB: {by_ratio}; NaN {nan}")
    return same_nan and largest.max() <= LARGEST_DIFFERENCE


def main() -> None:
    """Prints a line for each function and length of the song; fails if our ratios differ."""
    parser = Parser(__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0], help="of the song")
    parser.add_argument("--version", choices=VARIANTS, help="of BSS Eval; both if it is left out")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.version, options.variant, options.folder)))
        return
    print(f"4 stems, {len(os.sched_getaffinity(0))} CPU cores")
    print(f"{'':3}{'song s':>6}  {'':14}{'seconds':>8}{'ratio':>7}{'CPU s':>8}{'peak GB':>9}")
    versions = [options.version] if options.version else [*VARIANTS]
    same = [compare(version, seconds) for version in versions for seconds in options.seconds]
    if not all(same):
        sys.exit(
            f"ERROR: our ratios differ from museval's by more than {LARGEST_DIFFERENCE} dB, or in "
            "which of them are NaN"
        )


if __name__ == "__main__":
    main()
