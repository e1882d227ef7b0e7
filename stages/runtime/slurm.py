"""Trainings on several nodes of a job of Slurm.

SVoice's processes are torchrun's. Spleeter spreads its batches over the GPUs of a node by itself,
and over nodes by TF_CONFIG. On several nodes `srun` starts one task on each of them, and each task
is this module, `python -m stages.runtime.slurm`, which makes there what depends on the node.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.menu import SVOICE
from stages.runtime import child
from stages.runtime.distribution import torchrun

# The ports for jobs start here, below those that Linux gives to outgoing connections.
FIRST_PORT, PORTS = 15000, 15000
WAIT_SECONDS = 300  # after the first task has ended, for the others; the first one writes outputs


@dataclass(frozen=True)
class Job:
    """A job of Slurm.

    Attributes:
        number: its number, which each task of an array has of its own.
        addresses: the address of each of its nodes, the one that this process runs on first.
        cpus_per_task: the processors that it has requested for each task; None if it has not.
    """

    number: int
    addresses: tuple[str, ...]
    cpus_per_task: str | None

    @property
    def workers(self) -> list[str]:
        """The address and port of a worker on each node.

        Two jobs that run at the same time seldom have the same port. Nodes at the same address, as
        in a test, have different ones.
        """
        port = FIRST_PORT + self.number % PORTS
        return [
            f"{address}:{port + self.addresses[:place].count(address)}"
            for place, address in enumerate(self.addresses)
        ]


def nodes() -> int:
    """Returns the number of nodes of the job; 1 outside of a job."""
    return int(os.environ.get("SLURM_JOB_NUM_NODES", 1)) if "SLURM_JOB_ID" in os.environ else 1


def this_job() -> Job:
    """Returns the job that this process runs in.

    Raises:
        InputError: Slurm's `scontrol` does not describe its nodes.
    """
    node_list = os.environ["SLURM_JOB_NODELIST"]
    names = _scontrol("show", "hostnames", node_list).split()
    addresses = node_addresses(_scontrol("--oneliner", "show", "node", node_list))
    return Job(
        int(os.environ["SLURM_JOB_ID"]),
        tuple(addresses.get(name, name) for name in names),
        os.environ.get("SLURM_CPUS_PER_TASK"),
    )


def _scontrol(*arguments: str) -> str:
    """Returns the output of Slurm's `scontrol`."""
    try:
        finished = subprocess.run(["scontrol", *arguments], capture_output=True, text=True)
        problem = (finished.stderr or finished.stdout).strip() or f"exit code {finished.returncode}"
    except FileNotFoundError:
        finished, problem = None, "there is no such program"
    if finished is None or finished.returncode:
        command = f"scontrol {' '.join(arguments)}"
        remedy = "it has to work on the nodes of a training on several of them"
        raise InputError(command, problem, remedy)
    return finished.stdout


def node_addresses(description: str) -> dict[str, str]:
    """Returns the address of each node by its name.

    Args:
        description: as `scontrol --oneliner show node` prints it: a line for each node.
    """
    return {
        name[1]: address[1]
        for line in description.splitlines()
        if (name := re.search(r"\bNodeName=(\S+)", line))
        and (address := re.search(r"\bNodeAddr=(\S+)", line))
    }


def on_all_nodes(
    model: str, python: str, arguments: Sequence[str], gpus: int, job: Job
) -> list[str]:
    """Returns the command line of a training on all nodes of a job.

    Args:
        model: `spleeter` or `svoice`.
        python: the interpreter of its environment, in a folder that all nodes see.
        arguments: the arguments of the interpreter, which begin with `-m`.
        gpus: the number of GPUs on each node; 0 trains on the processors.
        job: the job.
    """
    count, workers = len(job.addresses), job.workers
    command = [python, *arguments]
    if model == SVOICE:
        rendezvous = (
            f"--nnodes={count}",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={workers[0]}",
            f"--rdzv-id={job.number}",
        )
        command = [python, *torchrun(rendezvous, gpus), *arguments]
    # Slurm gives the processors of a task to `sbatch` alone, and not to an `srun` within its job.
    processors = [f"--cpus-per-task={job.cpus_per_task}"] if job.cpus_per_task else []
    return [
        *("srun", f"--nodes={count}", f"--ntasks={count}", "--ntasks-per-node=1", *processors),
        # The first task to end may not be the one that writes.
        *("--input=none", "--kill-on-bad-exit=0", f"--wait={WAIT_SECONDS}"),
        *(sys.executable, "-m", "stages.runtime.slurm"),
        *(f"--gpus={gpus}", f"--workers={','.join(workers)}", "--", *command),
    ]


def task_environment(
    environment: Mapping[str, str], workers: Sequence[str], gpus: int
) -> dict[str, str]:
    """Returns the environment variables of a trainer in one of the tasks of `srun`.

    Args:
        environment: those that Slurm has given to the task.
        workers: the address and port of the worker in each task.
        gpus: the number of GPUs to use on each node.

    Raises:
        InputError: Slurm has allotted fewer GPUs on this node.
    """
    task = int(environment["SLURM_PROCID"])
    allotted = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if gpus > len(allotted):
        node = environment.get("SLURMD_NODENAME", f"node {task + 1}")
        problem = f"Slurm has allotted {len(allotted)} of {gpus} GPUs on {node}"
        raise InputError("runtime.gpus", problem, "request as many on each node")
    cluster = {"worker": list(workers)}
    return {
        **environment,
        "CUDA_VISIBLE_DEVICES": ",".join(allotted[:gpus]),
        # Read by TensorFlow.
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": task}}),
        # Read by torchrun, which would otherwise tell the others the name of this machine.
        "PET_LOCAL_ADDR": workers[task].rpartition(":")[0],
    }


@one_line
def main() -> None:
    """Runs a trainer in one of the tasks of `srun`, and exits with its exit code."""
    parser = Parser(__doc__)
    parser.add_argument("--gpus", type=int, required=True, help="the number on each node")
    parser.add_argument("--workers", required=True, help="ADDRESS:PORT of each task, with commas")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after `--`")
    options = parser.parse_args()
    environment = task_environment(os.environ, options.workers.split(","), options.gpus)
    code = child.run(options.command, environment, (signal.SIGTERM, child.THROUGH_SRUN))
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
