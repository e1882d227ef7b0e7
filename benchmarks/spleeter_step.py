"""Seconds and memory of Spleeter's training step: `spleeter train` against ours.

    .venv/spleeter/bin/python -m benchmarks.spleeter_step

Both train Spleeter's network on four stems of generated songs with Adam, without clipping and at a
constant rate, with the sizes of Spleeter's musdb.json unless options change them. They take turns,
each time in a process of its own. The time of a step is from the end of the previous step to its
own end, measured with the same clock for both, and without the first steps. The table has the
median. `peak GB` is the largest memory of a process, including validation. The last line is for
whoever collects such measurements.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import sending
from benchmarks.spleeter_input import (
    CHUNK_SECONDS,
    generate,
    run_in_new_process,
    write_list,
)
from contract.arguments import Parser
from contract.layout import CONF, list_file
from contract.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[1]
SONGS, SECONDS = 9, 25.0  # the last song is to validate on
WARMUP_STEPS = 1


def train_stock(params: dict[str, Any], root: Path, out: Path) -> list[float]:
    """Trains stock Spleeter.

    Args:
        params: Spleeter's configuration.
        root: the folder of the songs.
        out: the folder for all that is written.

    Returns:
        The seconds of every step except the first.
    """
    from benchmarks import stock_spleeter

    with stock_spleeter.clocked() as clock:
        stock_spleeter.train(params, root, out / "stock.json")
    return clock.seconds


def train_ours(params: dict[str, Any], root: Path, out: Path) -> list[float]:
    """Trains our Spleeter by the same configuration, as `train_stock` does."""
    from benchmarks import stock_spleeter
    from contract.model_settings import UNET_LEVELS
    from spleeter_mod import tracks, training
    from spleeter_mod.settings import Settings

    optimizer = read_yaml(ROOT / CONF / "optimizer" / "adam.yaml")["spleeter"]
    as_in_stock = read_yaml(ROOT / CONF / "study_settings" / "published_adam.yaml")["optimizer"]
    optimizer |= as_in_stock["spleeter"]
    same = ("sample_rate", "T", "F", "frame_length", "frame_step", "batch_size")
    settings = Settings(
        **{key: params[key] for key in same},
        seed=params["random_seed"],
        filters=[16 << level for level in range(UNET_LEVELS)],
        chunk_seconds=CHUNK_SECONDS,
        chunks_per_song=params["n_chunks_per_song"],
        steps=params["train_max_steps"],
        validate_every=params["train_max_steps"],
        log_every=1,
        optimizer={"name": "adam", **optimizer, "learning_rate": params["learning_rate"]},
        schedule=read_yaml(ROOT / CONF / "schedule" / "constant.yaml"),
        clipping=read_yaml(ROOT / CONF / "clipping" / "none.yaml"),
    )
    train, valid = (
        tracks.read(root / list_file(name), settings.sample_rate, root=root)
        for name in ("train", "valid")
    )
    scratch, caches, model = (out / name for name in ("scratch", "caches", "model"))
    scratch.mkdir()
    with stock_spleeter.clocked() as clock:
        folders = training.cache_places(settings, train, valid, (caches, caches))
        places = training.Places(train, valid, scratch, folders, model, model)
        training.train(settings, places)
    return clock.seconds


VARIANTS = {"stock": train_stock, "ours": train_ours}


def measure(variant: str, root: Path, changes: dict[str, int]) -> dict[str, Any]:
    """Measures a variant in this process.

    Args:
        variant: a key of `VARIANTS`.
        root: the folder of the songs.
        changes: values in Spleeter's configuration.

    Returns:
        The `seconds` of every measured step, and the `peak` of the memory in GB.
    """
    from benchmarks import stock_spleeter

    with tempfile.TemporaryDirectory() as out:
        params = stock_spleeter.configuration(root, Path(out), **changes)
        seconds = VARIANTS[variant](params, root, Path(out))[WARMUP_STEPS - 1 :]
    with open("/proc/self/status") as status:
        (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    return {"seconds": seconds, "peak": peak / 1e9, **environment()}


def environment() -> dict[str, str]:
    """Returns the `framework` with its version, and the name of the `gpu`; empty without one."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {"device_name": ""}
    return {"framework": f"TensorFlow {tf.__version__}", "gpu": details.get("device_name", "GPU")}


def main() -> None:
    """Prints a line for each round and variant, and the medians of all rounds."""
    parser = Parser(__doc__)
    parser.add_argument("--T", type=int, default=512, help="frames of a segment")
    parser.add_argument("--batch", type=int, default=4, help="segments")
    parser.add_argument("--steps", type=int, default=5, help="measured in each process")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each variant")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        changes = {"T": options.T, "batch_size": options.batch}
        changes["train_max_steps"] = WARMUP_STEPS + options.steps
        print(json.dumps(measure(options.variant, options.root, changes)))
        return
    print(f"T={options.T}, batch of {options.batch}, {os.cpu_count()} CPU cores", flush=True)
    seconds, peaks = ({variant: [] for variant in VARIANTS} for _ in range(2))
    print(f"{'round':7}{'variant':9}{'s/step':>8}{'ratio':>7}{'peak GB':>9}")
    with tempfile.TemporaryDirectory() as root:
        names = [f"song {number}" for number in range(SONGS)]
        generate(Path(root), names, SECONDS)
        write_list(Path(root, list_file("train")), names[:-1], SECONDS)
        write_list(Path(root, list_file("valid")), names[-1:], SECONDS)
        sizes = ["--T", options.T, "--batch", options.batch, "--steps", options.steps]
        for number in range(1, options.rounds + 1):
            medians = {}
            for variant in VARIANTS:
                result = run_in_new_process(
                    "benchmarks.spleeter_step",
                    *("--variant", variant, "--root", root),
                    *map(str, sizes),
                )
                seconds[variant] += result["seconds"]
                peaks[variant].append(result["peak"])
                medians[variant] = statistics.median(result["seconds"])
                print_row(number, variant, medians, result["peak"])
    medians = {variant: statistics.median(seconds[variant]) for variant in VARIANTS}
    for variant in VARIANTS:
        print_row("all", variant, medians, max(peaks[variant]))
    sizes = f"T={options.T}, batch of {options.batch}"
    print(sending.line("spleeter_step", sizes, result["gpu"], result["framework"], medians))


def print_row(label: int | str, variant: str, medians: dict[str, float], peak: float) -> None:
    """Prints a row of the table.

    Args:
        label: the label of the row.
        variant: a key of `VARIANTS`.
        medians: the median of a step's seconds, by variant.
        peak: the most memory that was used, in GB.
    """
    ratio = medians[variant] / medians["stock"]
    print(f"{label!s:7}{variant:9}{medians[variant]:8.3f}{ratio:7.3f}{peak:9.2f}", flush=True)


if __name__ == "__main__":
    main()
