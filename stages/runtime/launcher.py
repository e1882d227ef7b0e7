"""Starts a trainer where configuration.yaml says: in its virtual environment, or in a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from contract.params import DockerRuntime, LocalRuntime
from stages.runtime import containers, engine, gpus, images
from stages.runtime.virtual_environments import interpreter


def run_python(
    model: str,
    arguments: Sequence[str],
    name: str,
    runtime: LocalRuntime | DockerRuntime,
    writable: Path | None = None,
) -> int:
    """Runs a trainer's Python to its end, in the working directory and on GPUs of its own.

    Args:
        model: whose environment or image it runs in.
        arguments: the arguments of the Python interpreter.
        name: what error messages call it.
        runtime: where it runs.
        writable: a folder outside the workspace that a container may write to.

    Returns:
        Its exit code; 128 + the signal's number if a signal killed it.

    Raises:
        InputError: the environment, the image, the engine or the GPUs are not available.
    """
    if runtime.name == "local":
        command = [str(interpreter(model)), *arguments]
        with gpus.reserved(runtime.gpus) as uuids:
            return run_locally(command, name, runtime, uuids)
    with engine.connected() as client:
        images.find_or_build(client, model, runtime)  # before a GPU is reserved: it takes minutes
        with gpus.reserved(runtime.gpus) as uuids:
            # Somebody may have removed the image during the wait for a GPU.
            image = images.find_or_build(client, model, runtime)
            command = ["python", *arguments]
            return containers.run(client, image, command, name, runtime, uuids, writable)


def run_locally(
    command: Sequence[str], name: str, runtime: LocalRuntime, uuids: Sequence[str]
) -> int:
    """Runs a command to its end as a child of this process and passes SIGTERM on to it.

    Args:
        command: the program and its arguments.
        name: what error messages call it.
        runtime: whether it may see any GPU.
        uuids: the UUIDs of the GPUs that it sees.

    Returns:
        Its exit code; 128 + the signal's number if a signal killed it.
    """
    environment = dict(os.environ)
    if uuids or runtime.gpus == "none":
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(uuids)
    # close_fds: the trainer, too, holds the locks of its GPUs and of its scratch folder, so that
    # nobody takes them over while it outlives this process.
    with subprocess.Popen(command, env=environment, close_fds=False) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the terminal has sent Ctrl-C to the trainer as well
            process.wait()
            raise
    if code >= 0:
        return code
    killer = containers.signal_name(-code)
    remedy = "repeat the command"
    if killer == "SIGKILL":
        remedy = "if memory ran out, reduce the batch size; otherwise repeat the command"
    print(f"ERROR: {name}: was killed by {killer}; {remedy}", file=sys.stderr)
    return 128 - code
