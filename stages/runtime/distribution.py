"""Trainings in several processes on one machine, each of which has a GPU of its own."""

from __future__ import annotations

from collections.abc import Sequence

from contract.menu import SVOICE

# Not the machine's name, which a container without a network cannot resolve.
STANDALONE = ("--standalone", "--local-addr=127.0.0.1")


def on_one_node(model: str, python: str, arguments: Sequence[str], gpus: int) -> list[str]:
    """Returns the command line of a training on the GPUs of one machine.

    SVoice has a process for each of them, Spleeter one for all.

    Args:
        model: `spleeter` or `svoice`.
        python: the interpreter of its environment.
        arguments: the arguments of the interpreter, which begin with `-m`.
        gpus: the number of GPUs.
    """
    if model == SVOICE and gpus > 1:
        return [python, *torchrun(STANDALONE, gpus), *arguments]
    return [python, *arguments]


def torchrun(options: Sequence[str], gpus: int) -> list[str]:
    """Returns the arguments of Python that start torchrun, with a process for each GPU.

    Args:
        options: where its processes meet.
        gpus: the number of GPUs of this machine; for 0 it starts one process.
    """
    return ["-m", "torch.distributed.run", *options, f"--nproc-per-node={max(1, gpus)}"]
