"""Starts a trainer where configuration.yaml says: in its virtual environment, or in a container."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from contract.errors import InputError
from contract.hardware import RESERVED_GPUS
from contract.layout import scratch_root
from contract.params import ContainerRuntime, LocalRuntime
from stages.runtime import child, containers, distribution, engine, gpus, images, nvidia, slurm
from stages.runtime.virtual_environments import interpreter, kept_kernels, variables


def run_python(
    model: str,
    arguments: Sequence[str],
    name: str,
    runtime: LocalRuntime | ContainerRuntime,
    writable: Path | None = None,
) -> int:
    """Runs a trainer's Python to its end, in the working directory and on GPUs of its own.

    A training runs on all GPUs that are requested and, in a job of Slurm, on all of its nodes.
    Anything else has at most one GPU.

    Args:
        model: whose environment or image it runs in.
        arguments: the arguments of the Python interpreter, which begin with `-m`.
        name: what error messages call it.
        runtime: where it runs.
        writable: the folder of a training outside the workspace that a container may write to;
            None if it does not train.

    Returns:
        Its exit code; 128 + the signal's number if a signal killed it.

    Raises:
        InputError: the environment, the image, the engine, the GPUs or the nodes are not available.
    """
    nodes = slurm.nodes() if writable else 1
    if nodes > 1:
        _check_several_nodes(nodes, runtime)
    if runtime.name == "local":
        python, environment = str(interpreter(model)), variables(model)
        with _reserved(model, runtime, writable) as uuids:
            if nodes > 1:
                job = slurm.this_job()
                command = slurm.on_all_nodes(model, python, arguments, len(uuids), job)
                return run_locally(command, name, uuids, environment, child.THROUGH_SRUN)
            command = distribution.on_one_node(model, python, arguments, len(uuids))
            return run_locally(command, name, uuids, environment)
    with engine.connected(runtime.name) as client:
        images.find_or_build(client, model, runtime)  # before a GPU is reserved: it takes minutes
        with _reserved(model, runtime, writable) as uuids:
            # Somebody may have removed the image during the wait for a GPU.
            image = images.find_or_build(client, model, runtime)
            command = distribution.on_one_node(model, "python", arguments, len(uuids))
            names = gpus.names_for_the_engine(uuids)
            folder = writable or scratch_root() / model
            folder.mkdir(parents=True, exist_ok=True)
            kept = kept_kernels(folder)
            return containers.run(client, image, command, name, runtime, names, folder, kept)


def _check_several_nodes(nodes: int, runtime: LocalRuntime | ContainerRuntime) -> None:
    """Checks that a training can run on several nodes.

    Raises:
        InputError: it cannot.
    """
    if runtime.name != "local":
        problem = f"a training on {nodes} nodes cannot run in containers"
        raise InputError(f"runtime={runtime.name}", problem, "use runtime=local, or one node")
    if isinstance(runtime.gpus, list):
        problem = f"names GPUs, but a training on {nodes} nodes takes as many on each"
        raise InputError("runtime.gpus", problem, "set it to auto, all, none or a count")


@contextmanager
def _reserved(
    model: str, runtime: LocalRuntime | ContainerRuntime, writable: Path | None
) -> Iterator[list[str]]:
    """Reserves the GPUs of a run, as `run_python` describes, and yields their UUIDs."""
    at_most = None if writable else 1
    listing = partial(gpus.visible_to, model, runtime)
    with gpus.reserved(runtime.gpus, listing, at_most) as reserved:
        for gpu in reserved:
            if note := nvidia.start_note(gpu, model):
                print(note, flush=True)
        yield [gpu.uuid for gpu in reserved]


def run_locally(
    command: Sequence[str],
    name: str,
    uuids: Sequence[str],
    environment: Mapping[str, str] | None = None,
    request: int = signal.SIGTERM,
) -> int:
    """Runs a command to its end as a child of this process and asks it to end when SIGTERM comes.

    Args:
        command: the program and its arguments.
        name: what error messages call it.
        uuids: the UUIDs of the GPUs that it sees.
        environment: environment variables that it gets besides this process's.
        request: the signal that asks it to end.

    Returns:
        Its exit code; 128 + the signal's number if a signal killed it. After SIGTERM that is 0 or
        `termination.EXIT_CODE`.
    """
    # Without the first variable a program would see all GPUs, also those of other runs.
    gpu_variables = {"CUDA_VISIBLE_DEVICES": ",".join(uuids), RESERVED_GPUS: str(len(uuids))}
    code = child.run(command, {**os.environ, **(environment or {}), **gpu_variables}, sent=request)
    if code >= 0:
        return code
    killer = containers.signal_name(-code)
    remedy = "repeat the command"
    if killer == "SIGKILL":
        remedy = containers.PERHAPS_MEMORY
    print(f"ERROR: {name}: was killed by {killer}; {remedy}", file=sys.stderr)
    return 128 - code
