"""Seconds and memory of BSS Eval: `museval` against ours.

    .venv/pipeline/bin/python -m benchmarks.bsseval --seconds 60 240

Scored are four stereo stems, one window a second, as MUSDB18 is: the embedded song (which `make
test-data` makes) over and over, each stem each time at another level and from another place on, so
that nothing repeats; the vocals are silent at first. The estimates are the stems with some of the
others, a filter and noise. Each function has a process of its own; what it takes to import them is
not counted. `CPU s` are those of all its threads together, `peak GB` is the most memory the process
held at any time. `largest difference` is that of any window in which museval's ratio is finite.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import soundfile

from benchmarks.spleeter_input import apart
from metrics.arguments import Parser

MUSIC = Path("scratch/test-data/data/music")
SPLITS = ("train", "valid", "test")  # parts of the song, in order
TARGETS = ("vocals", "drums", "bass", "other")
SAMPLE_RATE = 44100
SILENT_SECONDS = 2.5
METRICS = ("SDR", "ISR", "SIR", "SAR")
LARGEST_DIFFERENCE = 1e-6  # dB


def song(seconds):
    """→ references and estimates, each (4, samples, 2)"""
    rng = np.random.default_rng(0)
    references = np.stack([np.concatenate(list(endless(stem, rng, seconds))) for stem in stems()])
    references = references[:, : round(seconds * SAMPLE_RATE)]
    references[0, : round(SILENT_SECONDS * SAMPLE_RATE)] = 0
    estimates = 0.02 * rng.standard_normal(references.shape) * np.std(references)
    for target, estimate in enumerate(estimates):
        estimate += 0.8 * references[target] + 0.1 * np.roll(references[target], 20, axis=0)
        for other in range(len(references)):
            estimate += rng.uniform(0.02, 0.2) * references[other]
    return references, estimates


def stems():
    """→ of each target the whole song (samples, 2)"""
    for target in TARGETS:
        parts = []
        for split in SPLITS:
            (path,) = MUSIC.glob(f"*/*({split})/{target}.wav")
            parts.append(soundfile.read(path)[0])
        yield np.concatenate(parts)


def endless(stem, rng, seconds):
    for _ in range(int(seconds * SAMPLE_RATE) // len(stem) + 1):
        yield rng.uniform(0.3, 1) * np.roll(stem, rng.integers(len(stem)), axis=0)


def museval(references, estimates):
    from museval.metrics import bss_eval

    return bss_eval, (references, estimates, SAMPLE_RATE, SAMPLE_RATE)


def ours(references, estimates):
    from metrics.bsseval import bss_eval_samples

    return bss_eval_samples, (references, estimates, SAMPLE_RATE, SAMPLE_RATE)


VARIANTS = {"museval": museval, "ours": ours}


def measure(variant, folder):
    """In a process of its own. → seconds, CPU seconds, peak memory in GB; the ratios in a file"""
    signals = (np.load(folder / f"{name}.npy") for name in ("references", "estimates"))
    function, arguments = VARIANTS[variant](*signals)
    started, worked = perf_counter(), process_time()
    ratios = function(*arguments)[: len(METRICS)]
    seconds, worked = perf_counter() - started, process_time() - worked
    np.save(folder / f"{variant}.npy", ratios)
    with open("/proc/self/status") as status:
        (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    return {"seconds": seconds, "worked": worked, "peak": peak / 1e9}


def differences(folder):
    """→ of each metric the largest difference; whether the two are NaN in the same windows"""
    theirs, found = (np.load(folder / f"{variant}.npy") for variant in ("museval", "ours"))
    finite = np.isfinite(theirs)
    with np.errstate(invalid="ignore"):
        largest = np.max(np.abs(found - theirs), axis=(1, 2), where=finite, initial=0)
    return largest, bool((np.isnan(found) == np.isnan(theirs)).all())


def main():
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
    alike = True
    for seconds in options.seconds:
        with tempfile.TemporaryDirectory() as folder:
            for name, signals in zip(("references", "estimates"), song(seconds), strict=True):
                np.save(Path(folder, f"{name}.npy"), signals)
            theirs = None
            for variant in VARIANTS:
                result = apart("benchmarks.bsseval", "--variant", variant, "--folder", folder)
                theirs = theirs or result["seconds"]
                ratio = theirs / result["seconds"]
                print(f"{seconds:7g}  {variant:9}{result['seconds']:8.2f}", end="")
                print(f"{ratio:7.1f}{result['worked']:8.2f}{result['peak']:9.2f}", flush=True)
            largest, same = differences(Path(folder))
        each = ", ".join(f"{m} {value:.1e}" for m, value in zip(METRICS, largest, strict=True))
        print(f"{'':9}largest difference, dB: {each}; NaN {'the same' if same else 'DIFFERENT'}")
        alike = alike and same and largest.max() <= LARGEST_DIFFERENCE
    if not alike:
        sys.exit(
            f"ERROR: found other ratios than museval's, expected {LARGEST_DIFFERENCE} dB at most"
        )


if __name__ == "__main__":
    main()
