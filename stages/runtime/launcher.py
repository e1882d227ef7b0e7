"""Starts a trainer where configuration.yaml says: in its virtual environment, or in a container."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from contract.errors import InputError
from contract.params import ContainerRuntime, LocalRuntime
from stages.runtime import child, containers, engine, gpus, images, slurm
from stages.runtime.virtual_environments import interpreter


def run_python(
    model: str,
    arguments: Sequence[str],
    name: str,
    runtime: LocalRuntime | ContainerRuntime,
    writable: Path | None = None,
) -> int:
    """Runs a trainer's Python to its end, in the working directory and on GPUs of its own.

    In a job of Slurm a training runs on all of its GPUs and nodes.

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
        python = str(interpreter(model))
        with gpus.reserved(runtime.gpus) as uuids:
            if nodes > 1:
                job = slurm.this_job()
                command = slurm.on_all_nodes(model, python, arguments, len(uuids), job)
                return run_locally(command, name, runtime, uuids, child.THROUGH_SRUN)
            command = _on_one_node(model, python, arguments, uuids, writable)
            return run_locally(command, name, runtime, uuids)
    with engine.connected(runtime.name) as client:
        images.find_or_build(client, model, runtime)  # before a GPU is reserved: it takes minutes
        with gpus.reserved(runtime.gpus) as uuids:
            # Somebody may have removed the image during the wait for a GPU.
            image = images.find_or_build(client, model, runtime)
            command = _on_one_node(model, "python", arguments, uuids, writable)
            names = gpus.names_for_the_engine(uuids)
            return containers.run(client, image, command, name, runtime, names, writable)


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
        raise InputError("runtime.gpus", problem, "set it to all, none or a count")


def _on_one_node(
    model: str, python: str, arguments: Sequence[str], uuids: Sequence[str], writable: Path | None
) -> list[str]:
    """Returns the command line of a trainer's Python on these GPUs of this machine."""
    if writable and gpus.is_slurm_job():
        return slurm.on_one_node(model, python, arguments, len(uuids))
    return [python, *arguments]


def run_locally(
    command: Sequence[str],
    name: str,
    runtime: LocalRuntime,
    uuids: Sequence[str],
    request: int = signal.SIGTERM,
) -> int:
    """Runs a command to its end as a child of this process and asks it to end when SIGTERM comes.

    Args:
        command: the program and its arguments.
        name: what error messages call it.
        runtime: whether it may see any GPU.
        uuids: the UUIDs of the GPUs that it sees.
        request: the signal that asks it to end.

    Returns:
        Its exit code; 128 + the signal's number if a signal killed it. After SIGTERM that is 0 or
        `termination.EXIT_CODE`.
    """
    environment = dict(os.environ)
    # Without the variable a program sees all GPUs, also those that Slurm has not allotted.
    if uuids or runtime.gpus == "none" or gpus.is_slurm_job():
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(uuids)
    code = child.run(command, environment, sent=request)
    if code >= 0:
        return code
    killer = containers.signal_name(-code)
    remedy = "repeat the command"
    if killer == "SIGKILL":
        remedy = containers.PERHAPS_MEMORY
    print(f"ERROR: {name}: was killed by {killer}; {remedy}", file=sys.stderr)
    return 128 - code
