"""Seconds and memory of SVoice's training step, by device, precision and compilation.

    .venv/svoice/bin/python -m benchmarks.svoice_step

Each line is measured in a process of its own. It is the time of a complete optimizer step of the
trainer (forward, loss, backward, clipping, Adam) on a batch of noise, after a warm-up. `ratio` is
the speed relative to `plain` on the same device: the same network without optimizations, in fp32,
with TF32 off and with PyTorch's own settings of memory and threads. The last line of a device is
for whoever collects such measurements.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import sending
from contract.arguments import Parser
from contract.layout import CONF
from contract.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[1]
SIZES = {
    "published": {"N": 128, "L": 8, "H": 128, "R": 6, "segment_seconds": 4.0},
    "mini": {"N": 32, "L": 8, "H": 16, "R": 1, "segment_seconds": 1.0},
}
BATCH_SIZE, SPEAKERS, SAMPLE_RATE = 4, 2, 8000
LEARNING_RATE = 5e-4
WARMUP_STEPS = 1
MEASURED_STEPS = 3  # fewer only if they take longer than MOST_SECONDS
LEAST_SECONDS, MOST_SECONDS = 5, 90  # of all measured steps
TRAINING = {
    "name": "published",
    "group_norm": False,
    "stride_seconds": 1.0,
    "count_padding": False,
    "batch_size": BATCH_SIZE,
    "epochs": 1,
}
PLAIN = {
    "precision": "fp32",
    "tf32": False,
    "compile": False,
    "activation_checkpointing": False,
    "accumulation_steps": 1,
}
# The defaults of PyTorch and of its OpenMP for what svoice/__init__.py sets.
PLAIN_SETTINGS = {"THP_MEM_ALLOC_ENABLE": "0", "GOMP_SPINCOUNT": "300000"}


def cases(precisions: Sequence[str], compilations: Sequence[bool]) -> Iterator[dict[str, Any]]:
    """Yields what is measured.

    Args:
        precisions: `fp32`, `bf16` or `fp16`.
        compilations: whether the network is compiled.

    Yields:
        The name of the variant, `variant`, and the `settings` of its training.
    """
    ours = {**PLAIN, "tf32": True}
    yield {"variant": "plain", "settings": PLAIN}
    for precision in precisions:
        for compiled in compilations:
            settings = {**ours, "precision": precision, "compile": compiled}
            yield {"variant": "svoice", "settings": settings}
    settings = {**ours, "activation_checkpointing": True}
    yield {"variant": "+ activation checkpointing", "settings": settings}
    yield {"variant": "+ accumulation", "settings": {**ours, "accumulation_steps": BATCH_SIZE}}


def measure(case: dict[str, Any], device: str, size: str) -> dict[str, float]:
    """Measures a case in this process.

    Args:
        case: as `cases` yields it.
        device: `cpu` or `cuda`.
        size: a key of `SIZES`.

    Returns:
        The median of the `seconds` of a step, the `peak` of the memory in GB, and the `loss` of the
        last warm-up step.
    """
    import torch

    from contract.model_settings import SVoiceSettings
    from svoice.devices import allow_tf32, compile_network
    from svoice.network import SVoice
    from svoice.params import Params
    from svoice.stepper import Stepper

    optimizer = read_yaml(ROOT / CONF / "optimizer" / "adam.yaml")
    params = Params(
        seed=0,
        speakers=SPEAKERS,
        sample_rate=SAMPLE_RATE,
        svoice=SVoiceSettings(**SIZES[size], **TRAINING, **case["settings"]),
        optimizer=optimizer["name"],
        optimizer_settings={**optimizer["svoice"], "lr": LEARNING_RATE},
        schedule=read_yaml(ROOT / CONF / "schedule" / "constant.yaml"),
        clipping=read_yaml(ROOT / CONF / "clipping" / "norm.yaml"),
    )
    allow_tf32(params.svoice.tf32)
    torch.manual_seed(params.seed)
    network = SVoice(
        **params.network_sizes,
        activation_checkpointing=params.svoice.activation_checkpointing,
        plain=case["variant"] == "plain",
    ).to(device)
    if params.svoice.compile:
        compile_network(network)
    stepper = Stepper(network, params)
    samples = round(SIZES[size]["segment_seconds"] * SAMPLE_RATE)
    sources = torch.randn(BATCH_SIZE, SPEAKERS, samples)
    batch = sources.sum(1), sources, torch.full((BATCH_SIZE,), samples)

    def step() -> tuple[float, float]:
        """Returns the seconds and the loss of a step."""
        started = perf_counter()
        loss, _ = stepper.step(batch, 1.0, LEARNING_RATE)
        return perf_counter() - started, loss

    for _ in range(WARMUP_STEPS):
        _, loss = step()
    seconds: list[float] = []
    while sum(seconds) < LEAST_SECONDS or (
        len(seconds) < MEASURED_STEPS and sum(seconds) < MOST_SECONDS
    ):
        seconds.append(step()[0])
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        with open("/proc/self/status") as status:
            (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    return {"seconds": statistics.median(seconds), "peak": peak / 1e9, "loss": loss}


def measure_in_new_process(case: dict[str, Any], device: str, size: str) -> dict[str, float] | str:
    """Measures a case in a process of its own.

    Returns:
        What `measure` returns, or the last line of the error.
    """
    settings = PLAIN_SETTINGS if case["variant"] == "plain" else {}
    options = ["--case", json.dumps(case), "--size", size, "--devices", device]
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.svoice_step", *options],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        return finished.stderr.strip().splitlines()[-1]
    return json.loads(finished.stdout.splitlines()[-1])


def devices() -> tuple[str, dict[str, str]]:
    """Prints the version of PyTorch and the hardware.

    Returns:
        The version, and the name of the GPU by device, which is empty for the processors.
    """
    command = "import torch; print(torch.__version__, torch.get_num_threads(), *(["
    command += "torch.cuda.get_device_name()] if torch.cuda.is_available() else []))"
    version, threads, *gpu = subprocess.check_output(
        [sys.executable, "-c", command], text=True
    ).split(maxsplit=2)
    print(f"PyTorch {version}, {threads} threads{', ' + gpu[0].strip() if gpu else ''}")
    return version, {"cpu": "", **({"cuda": gpu[0].strip()} if gpu else {})}


def main() -> None:
    """Prints a line for each case."""
    parser = Parser(__doc__)
    parser.add_argument("--size", choices=SIZES, default="published")
    parser.add_argument("--devices", nargs="+", choices=("cpu", "cuda"), help="default: all")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "fp16"])
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled ones out")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.devices[0], options.size)))
        return
    sizes = ", ".join(f"{name}={value}" for name, value in SIZES[options.size].items())
    print(f"{sizes}, C={SPEAKERS}, batch of {BATCH_SIZE}, {SAMPLE_RATE} Hz")
    version, available = devices()
    compilations = (False,) if options.no_compile else (False, True)
    print(f"{'device':7}{'variant':28}{'precision':11}{'compiled':10}", end="")
    print(f"{'s/step':>8}{'ratio':>7}{'peak GB':>9}{'loss':>9}")
    for device in options.devices or available:
        plain_seconds, measured = None, {}
        for case in cases(options.precisions, compilations):
            settings = case["settings"]
            print(f"{device:7}{case['variant']:28}{settings['precision']:11}", end="")
            print(f"{'yes' if settings['compile'] else 'no':10}", end="", flush=True)
            result = measure_in_new_process(case, device, options.size)
            if isinstance(result, str):
                print(result, flush=True)
                continue
            plain_seconds = plain_seconds or result["seconds"]
            ratio = plain_seconds / result["seconds"]
            print(f"{result['seconds']:8.3f}{ratio:7.2f}", end="")
            print(f"{result['peak']:9.2f}{result['loss']:9.3f}", flush=True)
            compiled = " compiled" if settings["compile"] else ""
            variant = f"{case['variant']} {settings['precision']}{compiled}"
            measured[variant] = result["seconds"]
        gpu, framework = available.get(device, "?"), f"PyTorch {version}"
        print(sending.line("svoice_step", f"{options.size}: {sizes}", gpu, framework, measured))


if __name__ == "__main__":
    main()
