"""Seconds and memory of SVoice's training step, by device, precision and compilation.

    .venv/svoice/bin/python -m benchmarks.svoice_step

Each line is measured in a process of its own: whole optimizer steps (forward, loss, backward,
clipping, Adam) of the trainer, on one batch of noise, after warming up. `ratio` is against `plain`
on the same device: the same network written down plainly, in fp32, with TF32 off and PyTorch's own
settings of memory and threads.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from time import perf_counter

from metrics.arguments import Parser

SIZES = {
    "published": {"N": 128, "L": 8, "H": 128, "R": 6, "segment_seconds": 4.0},
    "mini": {"N": 64, "L": 8, "H": 64, "R": 1, "segment_seconds": 1.0},
}
BATCH_SIZE, SPEAKERS, SAMPLE_RATE = 4, 2, 8000
WARMING, MEASURED = 1, 3  # steps, at least
MEASURED_SECONDS = 5, 90  # short steps are repeated more often, very long ones less
PLAIN = {
    "variant": "plain",
    "count_padding": False,
    "precision": "fp32",
    "tf32": False,
    "compile": False,
    "activation_checkpointing": False,
    "accumulation_steps": 1,
}
# What svoice/__init__.py changes, as PyTorch and its OpenMP have it by themselves.
PLAIN_SETTINGS = {"THP_MEM_ALLOC_ENABLE": "0", "GOMP_SPINCOUNT": "300000"}


def cases(precisions, compilations):
    ours = {**PLAIN, "variant": "svoice", "tf32": True}
    yield PLAIN
    for precision in precisions:
        for compiled in compilations:
            yield {**ours, "precision": precision, "compile": compiled}
    yield {**ours, "variant": "+ activation checkpointing", "activation_checkpointing": True}
    yield {**ours, "variant": "+ accumulation", "accumulation_steps": BATCH_SIZE}


def measure(case, device, size):
    """In a process of its own. → seconds per step (median), peak memory in GB, the loss of the last
    warming step"""
    import torch

    from benchmarks.plain_svoice import PlainSVoice
    from svoice.compilation import compile_network
    from svoice.network import SVoice
    from svoice.precision import allow_tf32
    from svoice.stepper import Stepper

    allow_tf32(case["tf32"])
    torch.manual_seed(0)
    network = (PlainSVoice if case["variant"] == "plain" else SVoice)(
        **SIZES[size],
        C=SPEAKERS,
        sample_rate=SAMPLE_RATE,
        activation_checkpointing=case["activation_checkpointing"],
    ).to(device)
    if case["compile"]:
        compile_network(network)
    stepper = Stepper(
        network,
        {
            "svoice": case,
            "optimizer": {"name": "adam", "svoice": {"lr": 5e-4}},
            "clipping": {"name": "norm", "max_norm": 5.0},
        },
    )
    samples = round(SIZES[size]["segment_seconds"] * SAMPLE_RATE)
    sources = torch.randn(BATCH_SIZE, SPEAKERS, samples)
    batch = sources.sum(1), sources, torch.full((BATCH_SIZE,), samples)

    def step():
        started = perf_counter()
        loss, _ = stepper.step(batch, 1.0, 5e-4)
        return perf_counter() - started, loss

    for _ in range(WARMING):
        _, loss = step()
    seconds = []
    at_least, at_most = MEASURED_SECONDS
    while sum(seconds) < at_least or (len(seconds) < MEASURED and sum(seconds) < at_most):
        seconds.append(step()[0])
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        with open("/proc/self/status") as status:
            (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    return {"seconds": statistics.median(seconds), "peak": peak / 1e9, "loss": loss}


def measured_apart(case, device, size):
    """→ what `measure` returns, or the last line of what went wrong"""
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


def devices():
    command = "import torch; print(torch.__version__, torch.get_num_threads(), *(["
    command += "torch.cuda.get_device_name()] if torch.cuda.is_available() else []))"
    version, threads, *gpu = subprocess.check_output(
        [sys.executable, "-c", command], text=True
    ).split(maxsplit=2)
    print(f"PyTorch {version}, {threads} threads{', ' + gpu[0].strip() if gpu else ''}")
    return ["cpu", "cuda"] if gpu else ["cpu"]


def main():
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
    settings = ", ".join(f"{name}={value}" for name, value in SIZES[options.size].items())
    print(f"{settings}, C={SPEAKERS}, batch of {BATCH_SIZE}, {SAMPLE_RATE} Hz")
    available = devices()
    compilations = (False,) if options.no_compile else (False, True)
    print(f"{'device':7}{'variant':28}{'precision':11}{'compiled':10}", end="")
    print(f"{'s/step':>8}{'ratio':>7}{'peak GB':>9}{'loss':>9}")
    for device in options.devices or available:
        plain = None
        for case in cases(options.precisions, compilations):
            print(f"{device:7}{case['variant']:28}{case['precision']:11}", end="")
            print(f"{'yes' if case['compile'] else 'no':10}", end="", flush=True)
            result = measured_apart(case, device, options.size)
            if isinstance(result, str):
                print(result, flush=True)
                continue
            plain = plain or result["seconds"]
            print(f"{result['seconds']:8.3f}{plain / result['seconds']:7.2f}", end="")
            print(f"{result['peak']:9.2f}{result['loss']:9.3f}", flush=True)


if __name__ == "__main__":
    main()
