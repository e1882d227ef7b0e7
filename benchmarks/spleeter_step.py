"""Seconds and memory of Spleeter's training step: `spleeter train` against ours.

    .venv/spleeter/bin/python -m benchmarks.spleeter_step

Both train Spleeter's network on four stems of generated songs with Adam, without clipping, at a
constant rate, at the sizes of Spleeter's musdb.json unless told otherwise. They take turns, each
time in a process of its own. A step's seconds go from its predecessor's end to its own, by one and
the same clock, the first steps left out; the table has the median. `peak GB` is the most memory a
process held at any time, validation included.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.spleeter_input import CHUNK_SECONDS, apart, generate, write_list
from metrics.arguments import Parser

SONGS, SECONDS = 9, 25.0  # the last song to validate on
WARMING = 1  # steps


def train_stock(params, root, made):
    """→ seconds of every step but the first"""
    from benchmarks import stock_spleeter

    with stock_spleeter.clocked() as clock:
        stock_spleeter.train(params, root, made / "stock.json")
    return clock.seconds


def train_ours(params, root, made):
    """→ seconds of every step but the first"""
    from benchmarks import stock_spleeter
    from spleeter_mod import tracks, training
    from spleeter_mod.settings import LEVELS, Settings

    same = ("sample_rate", "T", "F", "frame_length", "frame_step", "batch_size")
    settings = Settings(
        **{key: params[key] for key in same},
        seed=params["random_seed"],
        filters=[16 << level for level in range(LEVELS)],
        chunk_seconds=CHUNK_SECONDS,
        chunks_per_song=params["n_chunks_per_song"],
        steps=params["train_max_steps"],
        validate_every=params["train_max_steps"],
        log_every=1,
        optimizer={
            "name": "adam",
            "learning_rate": params["learning_rate"],
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-8,
            "epsilon_before_correction": True,  # as stock Spleeter
        },
        schedule={"name": "constant", "warmup_steps": 0},
        clipping={"name": "none"},
    )
    train, valid = (
        tracks.read(root / f"{name}.csv", settings.sample_rate, root=root)
        for name in ("train", "valid")
    )
    scratch, caches, model = (made / name for name in ("scratch", "caches", "model"))
    scratch.mkdir()
    with stock_spleeter.clocked() as clock:
        places = training.cache_places(settings, train, valid, (caches, caches))
        training.train(settings, training.Work(train, valid, scratch, places, model, model))
    return clock.seconds


VARIANTS = {"stock": train_stock, "ours": train_ours}


def measure(variant, root, changed):
    """In a process of its own. → seconds of every measured step, peak memory in GB"""
    from benchmarks import stock_spleeter

    with tempfile.TemporaryDirectory() as made:
        params = stock_spleeter.configuration(root, Path(made), **changed)
        seconds = VARIANTS[variant](params, root, Path(made))[WARMING - 1 :]
    with open("/proc/self/status") as status:
        (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    return {"seconds": seconds, "peak": peak / 1e9}


def main():
    parser = Parser(__doc__)
    parser.add_argument("--T", type=int, default=512, help="frames of a segment")
    parser.add_argument("--batch", type=int, default=4, help="segments")
    parser.add_argument("--steps", type=int, default=5, help="measured in each process")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each variant")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        changed = {"T": options.T, "batch_size": options.batch}
        changed["train_max_steps"] = WARMING + options.steps
        print(json.dumps(measure(options.variant, options.root, changed)))
        return
    print(f"T={options.T}, batch of {options.batch}, {os.cpu_count()} CPU cores", flush=True)
    seconds, peaks = ({variant: [] for variant in VARIANTS} for _ in range(2))
    print(f"{'round':7}{'variant':9}{'s/step':>8}{'ratio':>7}{'peak GB':>9}")
    with tempfile.TemporaryDirectory() as root:
        names = [f"song {number}" for number in range(SONGS)]
        generate(Path(root), names, SECONDS)
        write_list(Path(root, "train.csv"), names[:-1], SECONDS)
        write_list(Path(root, "valid.csv"), names[-1:], SECONDS)
        sizes = ["--T", options.T, "--batch", options.batch, "--steps", options.steps]
        for number in range(1, options.rounds + 1):
            medians = {}
            for variant in VARIANTS:
                result = apart(
                    "benchmarks.spleeter_step",
                    *("--variant", variant, "--root", root),
                    *map(str, sizes),
                )
                seconds[variant] += result["seconds"]
                peaks[variant].append(result["peak"])
                medians[variant] = statistics.median(result["seconds"])
                show(number, variant, medians, result["peak"])
    medians = {variant: statistics.median(seconds[variant]) for variant in VARIANTS}
    for variant in VARIANTS:
        show("all", variant, medians, max(peaks[variant]))


def show(number, variant, medians, peak):
    ratio = medians[variant] / medians["stock"]
    print(f"{number!s:7}{variant:9}{medians[variant]:8.3f}{ratio:7.3f}{peak:9.2f}", flush=True)


if __name__ == "__main__":
    main()
